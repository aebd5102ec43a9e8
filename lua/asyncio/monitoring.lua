--- A program answers who looks at it from outside: `asyncio ps`, `tree`, `top`. Loaded when it is first used.
-- @module asyncio.monitoring
local check = require "asyncio.check"
local core = require "asyncio.core"

local monitoring = {}

local OPTIONS = check.options { "monitor", 1, { "path", "string" }, guesses = "socket file=path" }

local TRACED = 200000 -- events that a trace has which somebody asks for: a file of some 30 MB

local traces = setmetatable({}, { __mode = "k" }) -- by loop: made for somebody outside

local ANSWERS = {
  leaks = function(loop) return core.stuck_tasks(loop) end,
  trace = function(loop, path)
    traces[loop] = require "asyncio.tracing".trace { path = path, max_events = TRACED }
  end,
  traced = function(loop)
    local trace = traces[loop]
    traces[loop] = nil
    if trace then trace:close() end
  end,
}

local function answer(loop, word, path) return ANSWERS[word](loop, path) end

--- What has the running loop told of; `asyncio.monitor` makes it.
-- @type Monitor
-- @usage
-- local monitor <close> = asyncio.monitor()
-- print(asyncio.fs.stat(monitor:get_path()).type) --> socket
local Monitor = {}
Monitor.__index, Monitor.__name = Monitor, "asyncio.Monitor"
monitoring.methods = Monitor

--- Where the process's socket is.
-- @treturn string
function Monitor:get_path()
  check.self(self, Monitor, "get_path")
  return self.path
end

--- Ends it: the loop is told of no longer. With the process's last one the socket goes. Twice is no error.
function Monitor:close()
  check.self(self, Monitor, "close")
  if not self.closed then
    core.monitor_end(self.loop)
    ANSWERS.traced(self.loop)
  end
  self.closed = true
end

function Monitor:__close() Monitor.close(self) end

function Monitor:__tostring()
  local ended = self.closed or self.loop:is_closed()
  return ("asyncio.Monitor: %s%s"):format(self.path, ended and ", closed" or "")
end

--- Has the running loop answer `asyncio ps`, `tree` and `top`, which this user and root may call: who waits
-- for whom and where, what is busy, how late the loop is. Nothing can be changed that way, nobody who looks
-- holds it up, and the task is not delayed by more than some tenths of a millisecond. It ends with its
-- `close`, or the loop.
--
-- The environment variable `ASYNCIO_MONITOR=1` does the same for every `run`. A process has one socket:
-- loops of other threads that begin later are told of there, too, by number. The socket is `PID.sock` in
-- `$XDG_RUNTIME_DIR/asyncio`, else in `/tmp/asyncio-UID`, a folder of the user's own.
--
-- Raises OSError where the socket can't be made (NotADirectoryError: the folder is a link, PermissionError:
-- it is another user's), BusyError where the loop has a monitor, or the process one at another path.
-- @tparam[opt] table opts `path`: of the socket, in place of the usual one; then the commands are given that
-- in place of the PID
-- @treturn Monitor
-- @usage
-- local monitor <close> = asyncio.monitor()
-- print(monitor:get_path():match "/(%d+)%.sock$" ~= nil) --> true
function monitoring.monitor(opts)
  opts = OPTIONS(opts)
  local path, loop = opts.path, core.get_running_loop()
  if path and (path == "" or path:find("\0", 1, true)) then
    local got = path == "" and '""' or "one with a zero byte"
    check.error(1, "monitor", "'path': a file's path expected, got " .. got)
  end
  return setmetatable({ path = core.monitor_begin(loop, answer, path), loop = loop }, Monitor)
end

-- For a loop that begins: where all are told of, it is.
function monitoring.join(loop)
  local ok, err = pcall(core.monitor_begin, loop, answer)
  if ok then return end
  local message = "asyncio ps, tree and top cannot look at this loop"
  loop:call_exception_handler { message = message, exception = err }
end

return monitoring
