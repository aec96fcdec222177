"""What S3 refuses, in words that name the setting to change; and what is worth another attempt."""

from __future__ import annotations

from wsus.storage.s3_settings import S3Settings

CHANGED = ("PreconditionFailed", "412")
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired")
_BUSY = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "ConditionalRequestConflict")
_WRONG_REGION = ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301")
_PERMISSIONS = {
    "read": "s3:GetObject",
    "looked up": "s3:GetObject and s3:ListBucket",
    "listed": "s3:ListBucket",
    "written": "s3:PutObject",
    "deleted": "s3:DeleteObject",
}


def error_code(error: BaseException) -> str:
    """The server's own word, as `NoSuchBucket`; empty where the server did not answer."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def http_status(error: BaseException) -> int | None:
    """The answer's HTTP status; None where the server did not answer."""
    response = getattr(error, "response", None)
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed: no connection, a cut one, a busy or failing server."""
    from botocore import exceptions
    from urllib3.exceptions import HTTPError

    status = http_status(error)
    if status is not None:
        return (status >= 500 and status != 501) or status == 429 or error_code(error) in _BUSY
    if isinstance(error, exceptions.SSLError):
        return False
    cut: tuple[type[Exception], ...] = (exceptions.ConnectionError, exceptions.HTTPClientError, HTTPError)
    cut = (*cut, exceptions.IncompleteReadError, exceptions.FlexibleChecksumError)
    return isinstance(error, cut)


def wants_new_credentials(error: BaseException) -> bool:
    """Whether the credentials have expired, or were replaced where they come from."""
    return error_code(error) in (*_EXPIRED, "InvalidAccessKeyId", "AccessKeyIdNotFound")


def hint(error: BaseException, verb: str, bucket: str, settings: S3Settings) -> str:
    """What to change, in one clause."""
    from botocore import exceptions

    code, status = error_code(error), http_status(error)
    where = settings.endpoint or "AWS"
    if isinstance(error, exceptions.ProfileNotFound):
        return "AWS_PROFILE names a profile that ~/.aws/config does not have"
    if isinstance(
        error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError | exceptions.CredentialRetrievalError
    ):
        return (
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or a role "
            "(AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN)"
        )
    if code in _EXPIRED:
        return "the credentials have expired and could not be refreshed: set AWS_SESSION_TOKEN and its keys anew, or use a role"
    if code in ("InvalidAccessKeyId", "AccessKeyIdNotFound"):
        return f"{where} does not know the key: set AWS_ACCESS_KEY_ID"
    if code == "SignatureDoesNotMatch":
        return "the secret does not belong to the key: set AWS_SECRET_ACCESS_KEY"
    if code in _WRONG_REGION or status == 301:
        region = settings.region or "the chain's own"
        return f"the bucket lies in another region than {region}: set AWS_REGION (or region= in the address)"
    if code == "NoSuchBucket" or (status == 404 and verb in ("written", "listed")):
        return f"{where} has no bucket {bucket!r}: make it, or change the address (--out, --store, --data)"
    if code == "RequestTimeTooSkewed":
        return "this machine's clock is wrong by more than 15 minutes: set it"
    if status == 501 or code == "NotImplemented":
        return f"{where} does not know conditional writes (If-Match, If-None-Match), which aliases and leases need"
    if code.startswith("KMS") or "KMS" in code:
        return "the key cannot be used: set WSUS_S3_KMS_KEY, or allow kms:GenerateDataKey and kms:Decrypt"
    if status == 403:
        wanted = f"{_PERMISSIONS[verb]} on {bucket!r}"
        return f"the credentials do not allow it, or there is no such bucket: allow {wanted}, or set AWS_ACCESS_KEY_ID"
    if isinstance(error, exceptions.SSLError):
        return "the certificate is not trusted: set AWS_CA_BUNDLE, or http:// in AWS_ENDPOINT_URL"
    if may_pass(error) and status is None:
        return f"{where} does not answer: set AWS_ENDPOINT_URL (or endpoint= in the address), or look after the server"
    return "look at the server's own log"
