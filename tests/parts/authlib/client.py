"""Gets a token with an unmodified Authlib and calls an API with it.

Told everything by the environment (GRANT, TOKEN_URL, AUTH_URL, REDIRECT_URL, CLIENT_ID, CLIENT_SECRET,
CLIENT_AUTH, SCOPE, API_URL, HTTP_LIBRARY) and prints one JSON object.
"""

import json
import os
import sys
import urllib.parse

import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session

CLIENT_AUTH = {"basic": "client_secret_basic", "post": "client_secret_post", "none": "none"}


def session():
    """A session of the asked HTTP library: requests (the default) or httpx."""
    if os.environ.get("HTTP_LIBRARY") == "httpx":
        from authlib.integrations.httpx_client import OAuth2Client as kind
    else:
        kind = OAuth2Session
    return kind(
        client_id=os.environ["CLIENT_ID"],
        client_secret=os.environ.get("CLIENT_SECRET") or None,
        token_endpoint_auth_method=CLIENT_AUTH[os.environ.get("CLIENT_AUTH", "basic")],
        scope=os.environ.get("SCOPE") or None,
        redirect_uri=os.environ.get("REDIRECT_URL") or None,
        code_challenge_method="S256",
    )


def login(url, redirect_url):
    """Follows the provider's redirects, with its cookies, as far as the redirect URL."""
    browser = requests.Session()
    for _ in range(10):
        answer = browser.get(url, allow_redirects=False)
        if "location" not in answer.headers:
            sys.exit(f"the provider answered {answer.status_code} and no redirect")
        url = urllib.parse.urljoin(url, answer.headers["location"])
        if url.startswith(redirect_url):
            return url
    sys.exit("more than ten redirects")


def authorization_code(client, token_url):
    """Logs in with PKCE, then refreshes where the provider gave a refresh token."""
    verifier = generate_token(48)
    url, _ = client.create_authorization_url(
        os.environ["AUTH_URL"], code_verifier=verifier, prompt="consent"
    )
    back = login(url, os.environ["REDIRECT_URL"])
    first = client.fetch_token(token_url, authorization_response=back, code_verifier=verifier)
    if "refresh_token" not in first:
        return first, {"refreshed": False, "changed": False}
    second = client.refresh_token(token_url, refresh_token=first["refresh_token"])
    return second, {"refreshed": True, "changed": first["access_token"] != second["access_token"]}


def main():
    client = session()
    token_url = os.environ["TOKEN_URL"]
    if os.environ.get("GRANT") == "authorization_code":
        token, notes = authorization_code(client, token_url)
    else:
        token, notes = client.fetch_token(token_url, grant_type="client_credentials"), {}
    answer = client.get(os.environ["API_URL"])
    report = {
        "token_length": len(token["access_token"]),
        "token_has_dots": "." in token["access_token"],
        "token_type": token["token_type"],
        "api_status": answer.status_code,
        "api_body": answer.text,
        "refreshed": False,
        "changed": False,
    }
    json.dump(report | notes, sys.stdout)


main()
