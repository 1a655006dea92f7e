"""The web page of a run, live (`steerio dashboard`) and as one file (`steerio report`).

Its packages, Starlette and uvicorn, come with ``steerio[dashboard]``; a report needs neither.
"""
