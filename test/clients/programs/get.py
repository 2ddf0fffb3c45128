"""Sends one request with the client named by the first argument to the URL in the second, and prints the answer's body.

The third says how: "bearer" as a header, "basic" as user and password, "post" with a JSON body.
"""
import base64
import json
import os
import sys

client, url, how = sys.argv[1:]
key = os.environ["API_KEY"]
headers = {"Authorization": "Bearer " + key}
body = {"a": 1}


def with_urllib():
    from urllib.request import Request, urlopen

    if how == "basic":
        headers["Authorization"] = "Basic " + base64.b64encode(("user:" + key).encode()).decode()
    data = json.dumps(body).encode() if how == "post" else None
    return urlopen(Request(url, data=data, headers=headers)).read().decode()


def with_requests():
    import requests

    return sent_with(requests)


def with_httpx():
    import httpx

    return sent_with(httpx)


def sent_with(library):
    if how == "basic":
        answer = library.get(url, auth=("user", key))
    elif how == "post":
        answer = library.post(url, headers=headers, json=body)
    else:
        answer = library.get(url, headers=headers)
    answer.raise_for_status()
    return answer.text


print({"urllib": with_urllib, "requests": with_requests, "httpx": with_httpx}[client]())
