-- asyncio.type and asyncio.time.
local t = require "helper"

local asyncio = t.asyncio

--- How one of each class is made that has a constructor; a new one needs a line here.
local MAKERS = {
  Lock = asyncio.Lock, Event = asyncio.Event, Condition = asyncio.Condition, Semaphore = asyncio.Semaphore,
  BoundedSemaphore = asyncio.BoundedSemaphore, Barrier = function() return asyncio.Barrier(1) end,
  Queue = asyncio.Queue, LifoQueue = asyncio.LifoQueue, PriorityQueue = asyncio.PriorityQueue,
  StreamReader = asyncio.StreamReader, Channel = asyncio.Channel,
  ContextVar = function() return asyncio.ContextVar "var" end,
  TaskGroup = function()
    local group <close> = asyncio.TaskGroup()
    return group
  end,
  Runner = function()
    local runner <close> = asyncio.Runner()
    return runner
  end,
  Pool = function() return asyncio.Pool { create = function() return {} end } end,
  ThreadPoolExecutor = function()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    return pool
  end,
}

--- What others make, and is seen by programs; and classes that are not.
local MADE = { "Error", "Loop", "Task", "Future", "Timeout", "Server", "StreamReader", "StreamWriter", "Handle",
  "Remote", "Address", "ContextToken", "ExceptionGroup", "Lease", "Process", "File", "Watch", "Trace", "SSLContext",
  "VimTask", "VimSemaphore", "RedisClient", "RedisPipeline", "RedisSubscription", "DatagramEndpoint",
  "HTTPConnection", "Headers", "Request", "BodyWriter", "WebSocketConnection", "WebSocket",
  "Client", "Response", "Monitor", "DistributedExecutor", "Job" }
local INTERNAL = { "Answer", "AsCompleted", "Cancel", "Folder", "Item", "Interrupt",
  "Lost", "Message", "Messages", "Signal", "X509Name" }

TestType = {}

function TestType:test_is_the_name_of_the_constructor_or_the_error_class()
  t.run(function()
    for name, value in pairs(asyncio) do
      if type(value) == "function" and name:find "^%u" then
        local make = MAKERS[name] or t.fail("no maker of asyncio." .. name)
        t.assertEquals(asyncio.type(make()), name)
      elseif type(value) == "table" and name:find "^%u" then
        t.assertEquals(asyncio.type(name == "ExceptionGroup" and value("several", {}) or value "words"), name)
      end
    end
  end)
end

function TestType:test_is_the_class_of_what_others_make()
  t.real(function()
    local loop = asyncio.get_running_loop()
    local limit <close> = asyncio.timeout(60)
    local pool <close> = asyncio.Pool { create = function() return {} end }
    local lease <close> = pool:acquire()
    local process <close> = asyncio.create_subprocess_exec "true"
    local file <close> = asyncio.open "/dev/null"
    local watch <close> = asyncio.fs.watch "/dev/null"
    local endpoint <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local path = os.tmpname()
    local _ <close> = setmetatable({}, { __close = function() os.remove(path) os.remove(path .. ".json") end })
    local trace <close> = asyncio.trace(path .. ".json")
    local deferred <close> = asyncio.defer(function() end)
    local vim_async = asyncio.compat.vim_async
    local shielded <close> = asyncio.shielded()
    local has_tls = pcall(require, "asyncio.openssl")
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    for name, object in pairs {
      Loop = loop, Task = asyncio.current_task(), Future = loop:create_future(), Timeout = limit, Server = server,
      StreamReader = reader, StreamWriter = writer, Handle = loop:call_soon(function() end), Remote = loop:remote(),
      Address = server:sockets()[1], Lease = lease, Process = process, File = file, Watch = watch,
      DatagramEndpoint = endpoint, Trace = trace,
      HTTPConnection = asyncio.parsers.http { role = "client" }, Headers = asyncio.parsers.headers {},
      WebSocketConnection = asyncio.parsers.websocket { role = "client" },
      Deferred = deferred, Shielded = shielded,
      Client = asyncio.http.Client(),
      VimTask = vim_async.run(function() end), VimSemaphore = vim_async.semaphore(),
      ContextToken = asyncio.ContextVar "var":set(1),
      SSLContext = has_tls and asyncio.ssl.create_server_context() or nil,
    } do
      t.assertEquals(asyncio.type(object), name)
    end
  end)
end

function TestType:test_was_asked_for_each_class_that_there_is()
  local known = {}
  for _, name in ipairs(MADE) do known[name] = true end
  for _, name in ipairs(INTERNAL) do known[name] = true end
  for name in pairs(MAKERS) do known[name] = true end
  for class in pairs(debug.getregistry()) do -- of userdata
    local name = type(class) == "string" and class:match "^asyncio%.(%u%w*)$"
    if name then t.assertTrue(known[name], "nobody asks for the type of " .. name) end
  end
  local root = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/.."
  local pages <close> = assert(io.popen(("grep -rhoE '@type [A-Z][A-Za-z]*$' '%s/src' '%s/lua'"):format(root, root)))
  for line in pages:lines() do -- of the manual
    local name = line:match "%u%w*"
    t.assertTrue(known[name], "nobody asks for the type of " .. name)
  end
end

function TestType:test_is_the_users_class_of_an_error()
  local Late = asyncio.TimeoutError:subclass "Late"
  t.assertEquals(asyncio.type(Late "no tea"), "Late")
  t.assertEquals(asyncio.type(asyncio.OSError { code = "EIO" }), "OSError")
end

function TestType:test_is_nil_for_everything_else()
  for _, value in ipairs { 1, "Task", true, {}, print, io.stdout, asyncio, asyncio.Error, coroutine.create(print),
    setmetatable({}, { __name = "Task" }), setmetatable({}, { __name = 5 }), setmetatable({}, {}) } do
    t.assertNil(asyncio.type(value))
  end
  t.assertNil(asyncio.type(nil))
  t.assertErrorMsgContains("bad argument #1", asyncio.type)
end

TestTime = {}

function TestTime:test_is_the_running_loops_clock()
  t.run(function()
    local began = asyncio.time()
    t.assertEquals(began, asyncio.get_running_loop():time())
    asyncio.sleep(2.5)
    t.assertEquals(asyncio.time() - began, 2.5)
  end)
end

function TestTime:test_raises_where_no_loop_runs()
  t.assertErrorMsgContains("no event loop is running", asyncio.time)
end

t.finish()
