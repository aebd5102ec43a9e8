--- asyncio for Lua: an event loop, tasks on coroutines, futures, cancellation, TCP streams.
-- The classes, and the functions that make them (`asyncio.Queue`, ...), have pages of their own; so have
-- `asyncio.ssl`, `asyncio.redis`, `asyncio.distributed`, `asyncio.fs`, `asyncio.http`, `asyncio.parsers` and
-- `asyncio.compat`. `_VERSION` says which release this is. Times are seconds. Unless a script of its own is
-- shown, examples stand in a task.
-- @module asyncio
-- @usage
-- local asyncio = require "asyncio"
--
-- local function brew(what, seconds)
--   asyncio.sleep(seconds)
--   return what
-- end
--
-- asyncio.run(function()
--   local tea = asyncio.create_task(brew, "tea", 0.01)
--   local coffee = asyncio.create_task(brew, "coffee", 0.02)
--   print(asyncio.await(tea), asyncio.await(coffee)) --> tea  coffee
-- end)
local function lacks(name)
  error("asyncio needs Lua's library '" .. name .. "', which was not opened, or taken away", 0)
end

for _, name in ipairs { "coroutine", "math", "table" } do
  if type(_ENV[name]) ~= "table" then lacks(name) end
end
if not getmetatable "" then lacks "string" end

local core = require "asyncio.core"
require "asyncio.errors"
local graph = require "asyncio.graph"
local runner = require "asyncio.runner"
local streams = require "asyncio.streams"
local tasks = require "asyncio.tasks"
local threads = require "asyncio.threads"
local timeouts = require "asyncio.timeouts"

local asyncio = {
  _VERSION = "lua-asyncio scm",

  -- running
  run = runner.run,
  Runner = runner.Runner,
  new_event_loop = core.new_event_loop,
  get_running_loop = core.get_running_loop,
  get_event_loop = core.get_event_loop,

  -- awaiting
  await = core.await,
  sleep = core.sleep,
  time = core.time,
  isfuture = core.isfuture,

  -- tasks
  create_task = core.create_task,
  current_task = core.current_task,
  all_tasks = core.all_tasks,
  gather = tasks.gather,
  wait = tasks.wait,
  as_completed = tasks.as_completed,
  shield = tasks.shield,
  FIRST_COMPLETED = tasks.FIRST_COMPLETED,
  FIRST_EXCEPTION = tasks.FIRST_EXCEPTION,
  ALL_COMPLETED = tasks.ALL_COMPLETED,
  TaskGroup = require "asyncio.taskgroup",
  ContextVar = require "asyncio.context".ContextVar,
  timeout = timeouts.timeout,
  timeout_at = timeouts.timeout_at,
  wait_for = timeouts.wait_for,
  move_on_after = timeouts.move_on_after,

  -- looking at them
  format_call_graph = graph.format_call_graph,
  print_call_graph = graph.print_call_graph,

  -- coordination
  Lock = core.Lock,
  Event = core.Event,
  Condition = core.Condition,
  Semaphore = core.Semaphore,
  BoundedSemaphore = core.BoundedSemaphore,
  Barrier = core.Barrier,
  Queue = core.Queue,
  LifoQueue = core.LifoQueue,
  PriorityQueue = core.PriorityQueue,

  -- threads
  ThreadPoolExecutor = threads.ThreadPoolExecutor,
  to_thread = threads.to_thread,
  thread_cancelled = core.thread_cancelled,
  blocking_sleep = core.blocking_sleep,
  Channel = core.Channel,

  -- streams
  copy = core.copy,
  open_fd = streams.open_fd,
  wait_readable = core.wait_readable,
  wait_writable = core.wait_writable,
  stream_pair = core.stream_pair,
  StreamReader = core.StreamReader,
  stdin = streams.stdin,
  stdout = streams.stdout,
  stderr = streams.stderr,

  -- files
  open = core.open,
  lines = core.lines,

  -- errors
  isinstance = core.isinstance,
  type = core.type,
  pcall = core.pcall,
  xpcall = core.xpcall,
  traceback = core.traceback,
}

for name, value in pairs(core) do
  if type(value) == "table" and value.__name == "asyncio." .. name then asyncio[name] = value end
end

asyncio.coroutine = require "asyncio.coroutine"

-- What few programs use is loaded when it is first used.
local LATER = {
  -- awaiting
  await_callback = "asyncio.callbacks",

  -- tasks
  race = "asyncio.racing",
  map = "asyncio.racing",
  defer = "asyncio.scopes",
  shielded = "asyncio.scopes",

  -- coordination
  Pool = "asyncio.pool",

  -- streams
  open_connection = "asyncio.connecting",
  open_unix_connection = "asyncio.connecting",
  start_server = "asyncio.serving",
  start_unix_server = "asyncio.serving",
  create_datagram_endpoint = "asyncio.datagrams",

  -- processes
  create_subprocess_exec = "asyncio.subprocess",
  create_subprocess_shell = "asyncio.subprocess",
  run_process = "asyncio.subprocess",

  -- files
  fs = "asyncio.fs",

  -- looking at them
  trace = "asyncio.tracing",

  -- TLS
  ssl = "asyncio.ssl",

  -- HTTP
  http = "asyncio.http",

  -- looking at the loop
  stats_text = "asyncio.stats",
  monitor = "asyncio.monitoring",

  -- grammars
  parsers = "asyncio.parsers",

  -- databases
  redis = "asyncio.redis",

  -- beyond one machine
  distributed = "asyncio.distributed",

  -- other libraries
  compat = "asyncio.compat",
  socket = "asyncio.socket",
}

local function load_part(module, name)
  local part = LATER[name] and require(LATER[name])
  if part and LATER[name] ~= "asyncio." .. name then part = part[name] end -- otherwise it is all of it
  if part then rawset(module, name, part) end
  return part
end

return setmetatable(asyncio, {
  __index = load_part,
  __pairs = function(module)
    for name in pairs(LATER) do load_part(module, name) end
    return next, module
  end,
})
