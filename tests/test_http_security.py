"""Which requests come from this machine and this site, by their headers."""

import pytest

from rolesum.http_security import declared_body_size, is_cross_site, is_local_host, request_headers

HOST = {"host": "127.0.0.1:8000"}


def test_request_headers_have_lower_case_names():
    assert request_headers({"headers": [(b"host", b"x"), (b"x-name", "é".encode("latin-1"))]}) == {
        "host": "x",
        "x-name": "é",
    }


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "127.8.8.8", "[::1]:80"])
def test_is_local_host_accepts_loopback_names(host):
    assert is_local_host({"host": host})


@pytest.mark.parametrize("host", ["", "evil.example", "192.168.1.1:8000", "0.0.0.0", "[::1", "localhost.evil.example"])
def test_is_local_host_rejects_other_names(host):
    assert not is_local_host({"host": host})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),  # a program, not a browser
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "https://127.0.0.1:8000"}, False),
        ({"origin": "http://127.0.0.1:9000"}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://[::1"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"}, True),
        ({"origin": "https://crm.example", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_is_cross_site_compares_origin_and_host(headers, expected):
    assert is_cross_site(HOST | headers, ("https://crm.example",)) is expected


@pytest.mark.parametrize(
    ("value", "expected"), [("0", 0), ("17", 17), ("", None), ("-1", None), ("1.5", None), ("²", None), ("x", None)]
)
def test_declared_body_size_is_a_plain_number(value, expected):
    assert declared_body_size({"content-length": value}) == expected
    assert declared_body_size({}) is None
