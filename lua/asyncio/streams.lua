--- The standard streams.
-- @module asyncio.streams
local check = require "asyncio.check"
local core = require "asyncio.core"

local streams = {}

local STDIN_OPTIONS = check.options { "stdin", 1, { "limit", "integer", 1, math.maxinteger // 4 } }
local STDOUT_OPTIONS, STDERR_OPTIONS = check.options { "stdout", 1 }, check.options { "stderr", 1 }

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

return streams
