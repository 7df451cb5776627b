"""The client of S3 that is shared in a process, and what its errors mean."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import s3fs
from aiobotocore.session import AioSession
from aiohttp import ClientError as ConnectionTrouble
from botocore.exceptions import (
    BotoCoreError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
)
from botocore.utils import determine_content_length

TROUBLE: Final = (OSError, BotoCoreError, ConnectionTrouble, TimeoutError)
_SMALL: Final = 1 << 16  # bytes, that are no loss if they are sent and refused
_systems: dict[tuple[Any, ...], Any] = {}


def _models() -> Any:
    """What botocore knows of S3, read once for all clients, and before programs fork their workers.

    It is most of the time that a client takes to make.
    """
    loader = AioSession().get_component("data_loader")
    for kind in ("service-2", "endpoint-rule-set-1"):
        loader.load_service_model("s3", kind)
    for name in ("endpoints", "partitions"):
        loader.load_data(name)
    return loader


_MODELS: Final = _models()


def shared(options: Mapping[str, Any], timeout: float) -> Any:
    """The client with *options*: one for each process, for it takes a fifth of a second to make."""
    known = (os.getpid(), timeout, *sorted(options.items()))
    if known not in _systems:
        _systems[known] = _made(options, timeout)
    return _systems[known]


def _made(options: Mapping[str, Any], timeout: float) -> Any:
    config = {
        "connect_timeout": min(timeout, 5.0),
        "read_timeout": timeout,
        "retries": {"total_max_attempts": 1},
    }
    session = AioSession(profile=options.get("profile"))
    session.register_component("data_loader", _MODELS)
    session.register("before-sign.s3.PutObject", _send_small_at_once)
    system = s3fs.S3FileSystem(
        **{name: value for name, value in options.items() if name != "profile"},
        config_kwargs=config,
        session=session,
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    system.retries = 1
    return system


def _send_small_at_once(request: Any, **_: object) -> None:
    """Do not ask whether the content may be sent, and wait for the answer, before it is.

    So a small commit is one round trip, and not two.
    """
    if request.body is not None and determine_content_length(request.body) <= _SMALL:
        del request.headers["Expect"]  # a message of http.client: none is no error


def held(act: Callable[[], object]) -> bool:
    """Whether the condition of the request *act* held, so that it was done."""
    try:
        act()
    except TROUBLE as error:
        # gone, changed, or changing under us: either way it is not what it was
        if status_of(error) in (404, 409, 412):
            return False
        raise
    return True


def _response(error: BaseException) -> Mapping[str, Any]:
    """What the store answered, if it did."""
    said = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return said if isinstance(said, dict) else {}


def status_of(error: BaseException) -> int:
    """The HTTP status of what the store answered; 0 if it did not."""
    metadata = _response(error).get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))


def code_of(error: BaseException) -> str:
    """What the store calls the error."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def was_sent(error: BaseException) -> bool:
    """Whether the request may have reached the store."""
    return not isinstance(error, EndpointConnectionError | ConnectTimeoutError | NoCredentialsError)


def microseconds(moment: Any) -> int:
    """An instant of the store, since the epoch."""
    return int(moment.timestamp()) * 1_000_000 + int(moment.microsecond)
