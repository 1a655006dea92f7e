from steerio.edge.segments import SharedMemoryConnector
from steerio.edge.store import SegmentStore


def open_store(setting, folder, maker=""):
    return SegmentStore(SharedMemoryConnector(folder, maker=maker), setting.cache_bytes)
