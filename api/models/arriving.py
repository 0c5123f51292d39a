"""Archives that are unpacked while they arrive, where their kind allows it: nothing is written twice."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Full, Queue
from typing import BinaryIO, cast

from api.sinks import FileSink, Sink
from core.archive import unpack_tar
from core.tar import BLOCK, is_tar_header

STEP_BYTES = 1 << 20
CHUNKS_AHEAD = 2


class ArchiveSink:
    """A tar becomes a folder at `path`; anything else, which can only be unpacked when it is whole, a file."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._start = b""
        self._sink: Sink | None = None

    def write(self, part: memoryview) -> None:
        if self._sink is None:
            self._start += part[:BLOCK]
            part = part[BLOCK:]
            if len(self._start) < BLOCK:
                return
            self._sink = self._open()
        self._sink.write(part)

    def finish(self) -> str | None:
        sink = self._sink or self._open()
        return sink.finish()

    def abort(self) -> None:
        if self._sink is not None:
            self._sink.abort()

    def _open(self) -> Sink:
        is_tar = is_tar_header(self._start[:BLOCK])
        sink = _TarSink(self.path, self._max_bytes) if is_tar else FileSink(self.path)
        sink.write(memoryview(self._start))
        return sink


class _TarSink:
    """Feeds a thread that unpacks. Raises ArchiveError, from `write` already, when the archive is refused."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._chunks: Queue[memoryview | None] = Queue(CHUNKS_AHEAD)
        self._thread = ThreadPoolExecutor(1)
        stream = cast(BinaryIO, _ArrivingStream(self._chunks))
        self._unpacking: Future[None] = self._thread.submit(unpack_tar, stream, path, max_bytes=max_bytes)

    def write(self, part: memoryview) -> None:
        self._put(part)
        if self._unpacking.done():
            self._unpacking.result()

    def finish(self) -> None:
        self._put(None)
        try:
            self._unpacking.result()
        finally:
            self._thread.shutdown()

    def abort(self) -> None:
        self._put(None)
        self._thread.shutdown()

    def _put(self, part: memoryview | None) -> None:
        while not self._unpacking.done():
            try:
                self._chunks.put(part, timeout=0.1)
            except Full:
                continue
            return


class _ArrivingStream:
    """What `unpack_tar` needs of a file: reading, and seeking forwards."""

    def __init__(self, chunks: "Queue[memoryview | None]") -> None:
        self._chunks = chunks
        self._current: memoryview | None = memoryview(b"")
        self._position = 0

    def tell(self) -> int:
        return self._position

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            if not self._current:
                if self._current is None:
                    break
                self._current = self._chunks.get()
                continue
            parts.append(self._current[:size])
            self._current = self._current[size:]
            size -= len(parts[-1])
            self._position += len(parts[-1])
        return b"".join(parts)

    def seek(self, position: int) -> None:
        while self._position < position and self.read(min(STEP_BYTES, position - self._position)):
            pass
