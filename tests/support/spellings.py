"""Spellings of request targets: some have two readings, others are a protected path in disguise."""

from __future__ import annotations

AMBIGUOUS = [
    *("/health/../api/users", "/health/./../api/users", "/./api/users", "/../api/users", "/api/../api/users"),
    *("/health/%2e%2e/api/users", "/health/%2E./api/users", "/health/.%2e/api/users", "/%2e/api/users"),
    *("/health/%252e%252e/api/users", "/health/%25252e%25252e/api/users", "/health%252f..%252fapi/users"),
    *("/health%2f..%2fapi/users", "/health/..%2fapi/users", "/api%2fusers", "/api%2Fusers", "/%2fapi/users"),
    *("/api%5cusers", "/health\\..\\api\\users", "/health/..\\api/users", "/%5capi/users", "/\\api/users"),
    *("//api/users", "///api/users", "/health//api/users", "//gateway.test/api/users", "/api//users"),
    *("/health;/../api/users", "/;x/api/users", "/api;x/users", "/health/..;/api/users", "/api%3bx/users"),
    *("/api%00/users", "/%00/api/users", "/health%00/../api/users", "/api/users%00.js", "/api/users%0d%0a"),
    *(
        "/health#/../api/users",
        "/health%23/api/users",
        "/health?a#/api/users",
        "/api%09/users",
        "/%0aapi/users",
    ),
    *("/api%/users", "/api%2", "/api%zz/users", "/%u0061pi/users", "/%c0%af../api/users", "/%c0%aeapi/users"),
    *("/health%3f/../api/users", "/health%3fx/api/users", "/api%3fx", "/ws%3ftoken=x", "/ws%253ftoken=x"),
    *("http://other.test/api/users", "http://gateway.test@other.test/api/users", "http:///api/users"),
    *("http://gateway.test//api/users", "http://gateway.test/../api/users", "http://gateway.test\\api/users"),
    *(
        "ftp://gateway.test/api/users",
        "api/users",
        "*",
        "gateway.test:80",
        "javascript:x",
        "?/api/users",
        "health",
    ),
]


ANOTHER_SPELLING = [
    *(
        "/api/users",
        "/API/users",
        "/Api/Users",
        "/aPi",
        "/api",
        "/api/",
        "/api?x",
        "/api?/../health",
        "/api/users?;",
    ),
    *("/%61pi/users", "/%41PI/users", "/ap%69/users", "/%61%70%69", "/ap%49/users"),
    *("/ws", "/WS", "/%77s", "/w%53", "/ws?x=token"),
    *("http://gateway.test/api/users", "HTTP://GATEWAY.TEST/api/users", "http://gateway.test/%61pi"),
    *("/api/health", "/api/webhook/x", "/api/users.js", "/api/.well-known/x", "/api/x%20y", "/api/%E2%82%AC"),
]
