--- The standard streams, and those of other descriptors; connections that go on with TLS.
-- @module asyncio.streams
local check = require "asyncio.check"
local core = require "asyncio.core"

local streams = {}

local LIMIT = { "limit", "integer", 1, math.maxinteger // 4 }
local OPEN_FD_OPTIONS = check.options {
  "open_fd", 2, LIMIT, { "read_timeout", "positive" }, { "write_timeout", "positive" },
}
local STDIN_OPTIONS = check.options { "stdin", 1, LIMIT }
local STDOUT_OPTIONS, STDERR_OPTIONS = check.options { "stdout", 1 }, check.options { "stderr", 1 }

--- A descriptor as a stream: a pipe, a FIFO, a terminal, a regular file, a device, a socket.
-- Its flags (blocking or not) stay as they are, since others may share them: pipes and terminals are opened
-- once more, and for sockets and devices threads copy (a socket that nobody shares is quicker by
-- `open_connection{fd=}`). It may be read ahead. A number is the stream's from now on, and closed with it; a
-- file of `io` stays its user's, and the stream has a copy of its descriptor: what `io` has read ahead of a
-- pipe is not there. Where it raises, the number is still the caller's: OSError EBADF for what isn't open.
--
-- The writer closes the stream. That of a descriptor that can only be read refuses `write` with EBADF. Of a
-- regular file that is open for both, reads and writes share one position. `get_extra_info` tells of the
-- descriptor that was given; of what is no socket nothing.
--
-- A reader or peer that takes nothing is given up like that of any connection, not waited for like that of a
-- standard stream: `<close>` waits for `write_timeout`, 30 s at most, the end of a run for `flush_timeout`.
-- What has not been taken then is lost, also what a thread has; the peer of a TCP socket sees a reset. After
-- `abort`, too, a thread waits no more: it writes what is taken at once.
-- @tparam integer|file fd not 0, 1 or 2
-- @tparam[opt] table opts `limit` (65536), `read_timeout`, `write_timeout`
-- @treturn ?StreamReader nil where it can only be written
-- @treturn StreamWriter
-- @usage
-- local pipe <close> = io.popen "echo hello"
-- local reader, writer <close> = asyncio.open_fd(pipe)
-- print((reader:readline():gsub("\n", ""))) --> hello
function streams.open_fd(fd, opts) return core.open_fd(fd, OPEN_FD_OPTIONS(opts)) end

--- The process's standard input as a stream: one for each loop, whoever asks.
-- It reads in blocks, while somebody waits. What is left of a block is there in the next loop, too; `io.read`
-- and other programs find it where standard input is a file, but not where it is a pipe or a socket. That it
-- cannot be read is an OSError, not the end.
-- @tparam[opt] table opts `limit` (65536); given again, it is the new one of the stream that there is
-- @treturn StreamReader
-- @usage
-- local asyncio = require "asyncio"
--
-- asyncio.run(function()
--   for line in asyncio.stdin():lines() do asyncio.stdout():send(line:upper(), "\n") end
-- end)
function streams.stdin(opts) return core.open_standard(0, STDIN_OPTIONS(opts)) end

--- The process's standard output as a stream: one for each loop, whoever asks, which keeps it.
-- The end of `run` waits until its reader has taken all that was written, as long as that takes, or until
-- Ctrl-C. What a device refuses, as a full disk, is raised by `drain`, `send`, `wait_closed` and `<close>`;
-- where nobody waited it is reported. `print` has a buffer of its own: what it has printed may come out later
-- than what is written here.
-- @treturn StreamWriter
function streams.stdout(...) return core.open_standard(1, STDOUT_OPTIONS(...)) end

--- The process's standard error as a stream, otherwise as `stdout`.
-- @treturn StreamWriter
function streams.stderr(...) return core.open_standard(2, STDERR_OPTIONS(...)) end

local StreamWriter = core.writer_class.methods

--- Goes on with TLS: sends what was written, shakes hands, and reader and writer are the same, encrypted.
-- What lies unread is taken for the peer's first bytes of TLS, and never read as plain text afterwards. While
-- it runs other calls raise BusyError, but for `close` and `abort`; where a task reads already, this one
-- does, and nothing has happened. Raises SSLError (SSLCertVerificationError) when it fails, and
-- TimeoutError (its `phase` is "handshake") when that takes too long. Failed or cancelled, the connection is
-- dead.
-- @tparam SSLContext context a client's, or `true` for the default one; with `server_side` a server's
-- @tparam[opt] table opts `server_side` (false); `server_hostname`, which the peer's certificate must be for
-- (the host of `open_connection`, otherwise it has to be given); `ssl_handshake_timeout` (15 s)
function StreamWriter:start_tls(context, opts)
  check.self(self, core.writer_class, "start_tls")
  require "asyncio.securing".start_tls(self, context, opts)
end

return streams
