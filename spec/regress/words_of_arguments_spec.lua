-- What an argument error says: the function that was called, its argument, and the line where; what was meant.
local t = require "helper"
local core = require "asyncio.core"

local asyncio, testing = t.asyncio, t.testing

local HAS_TLS = package.searchpath("asyncio.openssl", package.cpath) ~= nil
local HERE = "spec/regress/words_of_arguments_spec.lua"

local function line_of_caller() return debug.getinfo(2, "l").currentline end

--- The message of an error that was raised at that line of this file, in the words of an argument's.
local function of_argument(err, line, name, what)
  t.assertEquals(type(err), "string", what .. ": " .. tostring(err))
  local place = ("%s:%d: "):format(HERE, line)
  t.assertStrContains(err, place, false, what)
  local told = err:find("bad argument #%d+ to '" .. name .. "'")
    or err:find("calling '" .. name .. "' on bad self", 1, true)
  t.assertTrue(told ~= nil, what .. ": " .. err)
  t.assertNotStrContains(err, "asyncio/", false, what) -- a file of the library
  return err
end

--- The error of `object.name(...)`, called as people do. line: where that is.
local function called_with_dot(object, name, ...)
  local source = ("local object = ...; return function(...) object.%s(...) end"):format(name)
  local call = load(source, "=" .. HERE)(object)
  return t.error_of(call, ...), 1
end

local function called_with_colon(object, name, ...)
  local call = load(("local object = ...; return function(...) object:%s(...) end"):format(name), "=" .. HERE)(object)
  return t.error_of(call, ...), 1
end

--- One object of each class, in a loop that runs.
local function objects(fn)
  t.real(function()
    local loop = asyncio.get_running_loop()
    local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
    local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
    local limit <close> = asyncio.timeout(60)
    local group <close> = asyncio.TaskGroup()
    local pool <close> = asyncio.ThreadPoolExecutor(1)
    local lease <close> = asyncio.Pool { create = function() return "value" end }:acquire()
    local process <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe" })
    local file <close> = asyncio.open("/dev/zero", "r+")
    local endpoint <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local variable = asyncio.ContextVar "variable"
    local answering <close> = asyncio.start_server(function(_, w)
      w:send "HTTP/1.1 204 None\r\n\r\n"
    end, "127.0.0.1", 0)
    local answer = asyncio.http.get("http://" .. tostring(answering:sockets()[1]))
    local runner <close> = asyncio.Runner()
    fn {
      Loop = loop, Task = asyncio.current_task(), Future = loop:create_future(),
      Handle = loop:call_soon(function() end),
      Lock = asyncio.Lock(), Event = asyncio.Event(), Condition = asyncio.Condition(), Barrier = asyncio.Barrier(2),
      Semaphore = asyncio.Semaphore(), Queue = asyncio.Queue(), Channel = asyncio.Channel(), Remote = loop:remote(),
      Server = server, StreamReader = reader, StreamWriter = writer, Timeout = limit, TaskGroup = group,
      Pool = asyncio.Pool { create = print }, Lease = lease, Process = process, File = file,
      DatagramEndpoint = endpoint,
      HTTPConnection = asyncio.parsers.http { role = "client" }, Headers = asyncio.parsers.headers {},
      WebSocketConnection = asyncio.parsers.websocket { role = "client" },
      Client = asyncio.http.Client(), Response = answer,
      ThreadPoolExecutor = pool, ContextVar = variable, ContextToken = nil, Runner = runner,
      ExceptionGroup = asyncio.ExceptionGroup("message", {}),
      SSLContext = HAS_TLS and asyncio.ssl.SSLContext { purpose = "client" } or nil,
    }
  end)
end

--- The names of an object's methods that are public.
local function methods_of(object)
  local meta, names = debug.getmetatable(object), {}
  local methods = meta.methods or rawget(meta, "__index")
  if type(methods) ~= "table" then methods = meta end
  for name, value in pairs(methods) do
    if type(name) == "string" and type(value) == "function" and not name:find "^_" and name ~= "init" then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

TestSelf = {}

function TestSelf:test_a_dot_in_place_of_a_colon_is_told()
  objects(function(all)
    local n = 0
    for class, object in pairs(all) do
      for _, name in ipairs(methods_of(object)) do
        local what = class .. "." .. name
        for _, wrong in ipairs { print, 5, "text", {}, io.stdout } do
          local err = of_argument(called_with_dot(object, name, wrong), 1, name, what)
          t.assertStrContains(err, ("use a colon: object:%s(...)"):format(name), false, what)
          t.assertStrContains(err, "expected, got ", false, what)
        end
        n = n + 1
      end
    end
    t.assertTrue(n > 100)
  end)
end

function TestSelf:test_another_kind_of_object_is_told()
  objects(function(all)
    for class, object in pairs(all) do
      for _, name in ipairs(methods_of(object)) do
        local methods = debug.getmetatable(object)
        methods = methods.methods or rawget(methods, "__index") or methods
        if type(methods) ~= "table" then methods = debug.getmetatable(object) end
        local stranger = setmetatable({}, { __index = methods })
        local err = called_with_colon(stranger, name)
        if not tostring(err):find "a nil value" then
          t.assertStrContains(err, ("%s:1: calling '%s' on bad self (asyncio."):format(HERE, name), false, class)
        end
      end
    end
  end)
end

-- Wrong arguments

local function nothing() end

--- Calls that are wrong: a piece of source, how its function is called in the error, and what else is said.
local WRONG = {
  { "asyncio.sleep('1')", "sleep", "number of seconds expected, got string" },
  { "asyncio.sleep()", "sleep" },
  { "asyncio.timeout('1')", "timeout" },
  { "asyncio.timeout_at {}", "timeout_at" },
  { "asyncio.defer(5)", "defer", "function expected, got number" },
  { "asyncio.shielded('1')", "shielded", "number of seconds or nil expected, got string" },
  { "asyncio.await_callback(5)", "await_callback", "function expected, got number" },
  { "asyncio.await_callback { 5 }", "await_callback", "a table with a function at 1 expected, got number" },
  { "asyncio.monitor(5)", "monitor", "table of options expected, got number" },
  { "asyncio.monitor { path = 5 }", "monitor", "'path': string expected, got number" },
  { "asyncio.monitor { path = '' }", "monitor", "'path': a file's path expected" },
  { "loop:measure_tasks(1)", "measure_tasks", "boolean expected, got number" },
  { "asyncio.stats_text(5)", "stats_text", "Loop or nil expected, got number" },
  { "asyncio.Pool()", "Pool", "table of options expected, got nil" },
  { "asyncio.Pool { max = 5 }", "Pool", "'create'" },
  { "asyncio.move_on_after('1', print)", "move_on_after" },
  { "asyncio.create_task()", "create_task", "got no value" },
  { "asyncio.create_task(nil)", "create_task", "got nil" },
  { "asyncio.create_task {}", "create_task", "got no value" },
  { "asyncio.create_task { print, name = 5 }", "create_task", "'name': string expected, got number" },
  { "loop:create_task()", "create_task", "got no value" },
  { "task:set_name(5)", "set_name", "string expected, got number" },
  { "task:set_name()", "set_name", "string expected, got no value" },
  { "pool:submit()", "submit", "got no value" },
  { "future:add_done_callback()", "add_done_callback", "got no value" },
  { "condition:wait_for()", "wait_for", "got no value" },
  { "loop:remote():call_soon_threadsafe()", "call_soon_threadsafe", "got no value" },
  { "loop:call_soon()", "call_soon", "got no value" },
  { "loop:call_later(1)", "call_later", "got no value" },
  { "loop:add_reader(0)", "add_reader", "got no value" },
  { "loop:add_signal_handler('SIGUSR1')", "add_signal_handler", "got no value" },
  { "loop:run_in_executor(nil)", "run_in_executor", "got no value" },
  { "loop:run_in_executor(print)", "run_in_executor",
    "got function; the executor or nil comes first: run_in_executor(nil, f, x)" },
  { "asyncio.create_task(coroutine.running())", "create_task", "a coroutine that has not started" },
  { "loop:create_task(coroutine.running())", "create_task", "bad argument #1" },
  { "group:create_task(coroutine.running())", "create_task", "bad argument #1" },
  { "asyncio.await(5)", "await" },
  { "asyncio.await(nil)", "await", "got nil; where that was await(f(x)): call f(x) itself, await is for tasks" },
  { "asyncio.await()", "await", "got no value; where that was await(f(x))" },
  { "asyncio.await(task, 5)", "await", "bad argument #2 to 'await' (one value expected; gather(a, b)" },
  { "asyncio.await(task, task)", "await" },
  { "asyncio.gather({ 5 })", "gather", "at 1 expected, got number" },
  { "asyncio.gather(task, 5)", "gather", "bad argument #2" },
  { "asyncio.wait(5)", "wait" },
  { "asyncio.wait({})", "wait", "the list is empty" },
  { "asyncio.wait({ 5 })", "wait", "at 1 expected, got number" },
  { "asyncio.wait { task, timeout = 1 }", "wait", "option 'timeout' in the list: write wait({t}, {timeout=1})" },
  { "asyncio.wait { task, return_when = 'FIRST_COMPLETED' }", "wait", "write wait({t}, {return_when=" },
  { "asyncio.as_completed { task, timeout = 1 }", "as_completed", "write as_completed({t}, {timeout=1})" },
  { "asyncio.as_completed(5)", "as_completed" },
  { "asyncio.as_completed({ 5 })", "as_completed" },
  { "asyncio.wait_for(task, 'x')", "wait_for", "bad argument #2" },
  { "asyncio.Queue('10')", "Queue", "integer expected, got string" },
  { "asyncio.Semaphore(-1)", "Semaphore", "integer of 0 or more expected, got -1" },
  { "asyncio.Barrier(0)", "Barrier", "integer of 1 or more expected, got 0" },
  { "asyncio.Barrier()", "Barrier", "got no value" },
  { "asyncio.Barrier(nil)", "Barrier", "got nil" },
  { "asyncio.Condition(5)", "Condition", "asyncio.Lock expected, got number" },
  { "asyncio.Channel('1')", "Channel" },
  { "asyncio.ThreadPoolExecutor(0)", "ThreadPoolExecutor" },
  { "asyncio.ThreadPoolExecutor { initializer = setmetatable({}, { __call = print }) }", "ThreadPoolExecutor" },
  { "asyncio.ContextVar(5)", "ContextVar", "string expected, got number" },
  { "asyncio.ContextVar('x'):reset(5)", "reset", "bad argument #1" },
  { "asyncio.Lock(5)", "Lock" },
  { "asyncio.Event(5)", "Event" },
  { "asyncio.TaskGroup(5)", "TaskGroup" },
  { "asyncio.ExceptionGroup('x')", "ExceptionGroup" },
  { "asyncio.ExceptionGroup('x', {}):split(5)", "split", "bad argument #1" },
  { "asyncio.ExceptionGroup('x', {}):subgroup(5)", "subgroup", "bad argument #1" },
  { "asyncio.Error:subclass()", "subclass" },
  { "asyncio.Error.subclass('X')", "subclass",
    "error class expected, got string; use a colon: object:subclass(...)" },
  { "asyncio.isinstance(5, 5)", "isinstance" },
  { "asyncio.format_call_graph(5)", "format_call_graph" },
  { "asyncio.print_call_graph(5)", "print_call_graph" },
  { "asyncio.create_datagram_endpoint()", "create_datagram_endpoint", "table of options expected, got nil" },
  { "asyncio.create_datagram_endpoint {}", "create_datagram_endpoint", "an endpoint needs a family" },
  { "asyncio.create_datagram_endpoint { port = 5 }", "create_datagram_endpoint", "write local_addr = {host=, port=}" },
  { "asyncio.create_datagram_endpoint { remote_addr = { host = '::1' } }", "create_datagram_endpoint",
    "'remote_addr.port': integer from 1 to 65535 expected, got nil" },
  { "asyncio.create_datagram_endpoint { path = '' }", "create_datagram_endpoint", "'path': a path that isn't empty" },
  { "asyncio.create_datagram_endpoint { path = 'x', ttl = 5 }", "create_datagram_endpoint",
    "'ttl' does not go with a unix socket" },
  { "asyncio.create_datagram_endpoint { path = 'x', family = 'inet' }", "create_datagram_endpoint", "'family'" },
  { "asyncio.create_datagram_endpoint { family = 'inet', multicast_interface = {} }", "create_datagram_endpoint",
    "'multicast_interface': an interface's name, number or" },
  { "endpoint:send()", "send", "string expected, got no value" },
  { "endpoint:send(5, {})", "send", "string expected, got number" },
  { "endpoint:send('x')", "send", "the endpoint is not connected: send(data, address)" },
  { "endpoint:send('x', '127.0.0.1')", "send", "address expected, got string" },
  { "endpoint:send('x', { host = 'localhost', port = 5 })", "send", "an address needs a numeric host" },
  { "endpoint:send('x', { host = '127.0.0.1', port = 0 })", "send", "a port from 1 to 65535 expected, got 0" },
  { "endpoint:send('x', { host = '::1', port = 5 })", "send", "an IPv4 address expected" },
  { "endpoint:send('x', { path = '/x' })", "send", "an IPv4 address expected" },
  { "endpoint:send_nowait()", "send_nowait", "string expected, got no value" },
  { "endpoint:send_nowait('x')", "send_nowait", "bad argument #2" },
  { "endpoint:send_many()", "send_many", "list of {data, address} expected, got no value" },
  { "endpoint:send_many({ 'x' })", "send_many", "entry 1: {data, address} expected, got string" },
  { "endpoint:send_many({ {} })", "send_many", "entry 1: {data, address} expected, got nil" },
  { "endpoint:send_many({ { 'x' } })", "send_many", "bad argument #1" },
  { "endpoint:send_many({}, 0)", "send_many", "a place in the list, from 1 on, expected, got 0" },
  { "endpoint:receive_many('5')", "receive_many", "got string" },
  { "endpoint:receive_many(0)", "receive_many", "a number from 1 on expected, got 0" },
  { "endpoint:join_group(5)", "join_group", "multicast address (a string) expected, got number" },
  { "endpoint:join_group('10.0.0.1')", "join_group", "an IPv4 multicast address expected, got 10.0.0.1" },
  { "endpoint:join_group('239.1.2.3', {})", "join_group", "an interface's name, number or IPv4 address" },
  { "endpoint:leave_group('ff02::1')", "leave_group", "an IPv4 multicast address expected, got ff02::1" },
  { "endpoint:get_extra_info()", "get_extra_info", "string expected, got no value" },
  { "asyncio.open_connection(5, 80)", "open_connection", "host name expected, got number" },
  { "asyncio.open_connection('x\\0y', 80)", "open_connection", "bad argument #1" },
  { "asyncio.open_connection(('x'):rep(2000), 80)", "open_connection", "name too long" },
  { "asyncio.open_connection('127.0.0.1', '80')", "open_connection", "port number expected, got string" },
  { "asyncio.open_connection('127.0.0.1', 65536)", "open_connection", "port from 0 to 65535 expected, got 65536" },
  { "asyncio.open_connection('127.0.0.1', 80.5)", "open_connection", "port from 0 to 65535 expected, got 80.5" },
  { "asyncio.open_connection('127.0.0.1', math.huge)", "open_connection", "port from 0 to 65535 expected, got inf" },
  { "asyncio.open_connection('127.0.0.1', 80, { local_addr = { '127.0.0.2', 0 } })", "open_connection",
    "('local_addr': a value without a name; there are 'host', 'port', 'family' and 'scope_id')" },
  { "asyncio.open_connection('127.0.0.1', 80, { local_addr = { host = '127.0.0.1', port = '1' } })", "open_connection",
    "'local_addr.port': integer from 0 to 65535 expected, got string" },
  { "asyncio.open_unix_connection(5)", "open_unix_connection" },
  { "asyncio.open_unix_connection('')", "open_unix_connection" },
  { "asyncio.open_connection { host = 'localhost' }", "open_connection", "'port': port number expected, got nil" },
  { "asyncio.open_connection { host = 'localhost', port = 80, fd = 3 }", "open_connection", "does not go with 'fd'" },
  { "asyncio.open_connection { fd = 2 }", "open_connection", "'fd': a connected stream socket expected" },
  { "asyncio.open_connection('h', 80, { read_timeout = 0 })", "open_connection", "'read_timeout': number of seconds" },
  { "asyncio.open_unix_connection {}", "open_unix_connection", "'path': path expected, got nil" },
  { "asyncio.open_unix_connection { fd = 2 }", "open_unix_connection", "'fd': a connected stream socket expected" },
  { "asyncio.start_server(nothing, { fd = 2 })", "start_server", "'fd': a listening stream socket expected" },
  { "asyncio.start_server(nothing, {})", "start_server", "'port': port number expected, got nil" },
  { "asyncio.start_unix_server(nothing, {})", "start_unix_server", "'path': path expected, got nil" },
  { "asyncio.start_server(nothing, 5, 80)", "start_server", "bad argument #2" },
  { "asyncio.start_server(nothing, { 5 }, 80)", "start_server", "bad argument #2" },
  { "asyncio.start_server(nothing, ('x'):rep(2000), 80)", "start_server", "bad argument #2" },
  { "asyncio.start_server(nothing, '127.0.0.1', '0')", "start_server", "bad argument #3" },
  { "asyncio.start_server(nothing, '127.0.0.1', 0, { backlog = -1 })", "start_server", "bad argument #4" },
  { "asyncio.start_unix_server(nothing, 5)", "start_unix_server", "bad argument #2" },
  { "asyncio.start_server(nothing, '127.0.0.1', 0, { max_connections = 0 })", "start_server", "bad argument #4" },
  { "asyncio.start_unix_server(nothing, '/tmp/x', { stop_grace = -1 })", "start_unix_server", "bad argument #3" },
  { "asyncio.stdin { limit = 0 }", "stdin" },
  { "asyncio.stdout(5)", "stdout", "table of options expected, got number" },
  { "asyncio.stdout { foo = 2 }", "stdout", "unknown option 'foo': there are none" },
  { "asyncio.stderr(0)", "stderr", "table of options expected, got number" },
  { "asyncio.blocking_sleep('x')", "blocking_sleep" },
  { "asyncio.wait_readable('x')", "wait_readable" },
  { "asyncio.wait_writable('5')", "wait_writable" },
  { "asyncio.all_tasks(5)", "all_tasks" },
  { "asyncio.xpcall(print)", "xpcall", "bad argument #2" },
  { "asyncio.coroutine.create(5)", "create" },
  { "asyncio.coroutine.resume(5)", "resume" },
  { "asyncio.Runner(5)", "Runner" },
  { "asyncio.Runner { stop_signals = { 'SIGKILL' } }", "Runner", "a program can catch expected, got \"SIGKILL\"" },
  { "asyncio.Runner { stop_signals = { 'TERM' } }", "Runner", "signal expected, a name like" },
  { "asyncio.Runner { stop_signals = 15 }", "Runner", "'stop_signals': list expected, got number" },
  { "loop:run_once('1')", "run_once", "number of seconds expected, got string" },
  { "loop:run_once(-1)", "run_once", "number of seconds, 0 or more, expected" },
  { "testing.async(5)", "async" },
  { "testing.async(nothing, { timeout = 0 })", "async", "seconds above 0 expected, got 0" },
  { "loop:call_later('1', print)", "call_later", "bad argument #1" },
  { "loop:call_at({}, print)", "call_at" },
  { "loop:getaddrinfo('127.0.0.1', 70000)", "getaddrinfo", "port from 0 to 65535 expected, got 70000" },
  { "loop:getaddrinfo('127.0.0.1', '70000')", "getaddrinfo", "bad argument #2" },
  { "loop:getaddrinfo('127.0.0.1', -1)", "getaddrinfo" },
  { "loop:getaddrinfo('127.0.0.1', 80.5)", "getaddrinfo", "got 80.5" },
  { "loop:getaddrinfo('127.0.0.1', {})", "getaddrinfo" },
  { "loop:getnameinfo(5)", "getnameinfo", "table expected, got number" },
  { "loop:getnameinfo({ host = '127.0.0.1', port = 70000 })", "getnameinfo", "a port, 0 to 65535, got 70000" },
  { "loop:getnameinfo({ host = '127.0.0.1', port = '80' })", "getnameinfo", "a port, 0 to 65535, got string" },
  { "loop:getnameinfo({ host = '127.0.0.1' })", "getnameinfo", "a port, 0 to 65535, got nil" },
  { "loop:getnameinfo({ port = 80 })", "getnameinfo", "an address needs a host, got nil" },
  { "loop:getnameinfo({ host = 'x', port = 80 })", "getnameinfo", "a numeric host, got x" },
  { "loop:add_reader('x', print)", "add_reader", "bad argument #1" },
  { "loop:add_signal_handler('SIGNONE', print)", "add_signal_handler" },
  { "loop:add_signal_handler('15', print)", "add_signal_handler" },
  { "loop:set_exception_handler(5)", "set_exception_handler" },
  { "loop:call_exception_handler(5)", "call_exception_handler" },
  { "loop:set_debug(0)", "set_debug", "boolean expected, got number" },
  { "loop:set_default_executor(5)", "set_default_executor" },
  { "loop:run_in_executor(5, print)", "run_in_executor" },
  { "pool:map(print, 5)", "map", "bad argument #2" },
  { "pool:shutdown { wait = 0 }", "shutdown", "'wait': boolean expected, got number" },
  { "reader:read('5')", "read", "number expected, got string" },
  { "reader:readexactly(-1)", "readexactly" },
  { "reader:readexactly()", "readexactly" },
  { "reader:readuntil('')", "readuntil" },
  { "asyncio.StreamReader('5')", "StreamReader", "integer of 1 or more expected, got string" },
  { "asyncio.StreamReader { limit = 0 }", "StreamReader", "'limit': " },
  { "asyncio.StreamReader():feed()", "feed", "string expected, got no value" },
  { "asyncio.StreamReader():feed({})", "feed", "string expected, got table" },
  { "asyncio.stream_pair(5)", "stream_pair", "table of options expected, got number" },
  { "asyncio.stream_pair { limits = 5 }", "stream_pair", "did you mean 'limit'?" },
  { "asyncio.open_fd('5')", "open_fd", "descriptor or file of io's expected, got string" },
  { "asyncio.open_fd(1)", "open_fd", "asyncio.stdin, stdout and stderr" },
  { "asyncio.open_fd(1.5)", "open_fd" },
  { "asyncio.open_fd(9, 5)", "open_fd", "table of options expected, got number" },
  { "asyncio.copy(writer, reader)", "copy" },
  { "asyncio.copy(reader, writer, 5)", "copy" },
  { "reader:lines(5)", "lines", "blocks(n) gives pieces of up to n bytes" },
  { "reader:blocks('5')", "blocks", "number expected, got string" },
  { "reader:peek(0)", "peek", "a positive count expected" },
  { "reader:peek(1, 2)", "peek", "a count from 0 to n expected" },
  { "writer:write({})", "write" },
  { "writer:send(nil)", "send" },
  { "writer:writelines(5)", "writelines" },
  { "writer:get_extra_info()", "get_extra_info" },
  { "writer:set_write_buffer_limits(5)", "set_write_buffer_limits" },
  { "condition:notify('1')", "notify", "number expected, got string" },
  { "condition:wait_for(5)", "wait_for" },
  { "channel:close(1)", "close", "boolean expected, got number" },
  { "queue:shutdown(1)", "shutdown", "boolean expected, got number" },
  { "future:remove_done_callback()", "remove_done_callback" },
  { "limit:reschedule('1')", "reschedule" },
  { "limit:extend(-1)", "extend", "number of seconds, 0 or more, expected, got -1" },
  { "limit:extend('1')", "extend", "0 or more, expected, got string" },
  { "limit:extend()", "extend", "0 or more, expected, got nil" },
  { "limit:extend(0 / 0)", "extend", "0 or more, expected, got NaN" },
  { "asyncio.open()", "open", "path expected, got no value" },
  { "asyncio.open('a\0b')", "open", "path with a zero byte" },
  { "asyncio.open('x', 'rw')", "open", 'invalid mode: "r", "w" or "a" expected' },
  { "asyncio.open('x', true)", "open", "mode expected, got boolean" },
  { "asyncio.lines({})", "lines", "path expected, got table" },
  { "asyncio.lines('x', 'q')", "lines", "bad argument #2" },
  { "file:read(-1)", "read", "number of bytes, 0 or more, expected" },
  { "file:read('l', 'x')", "read", "bad argument #2" },
  { "file:lines(1.5)", "lines", "no integer representation" },
  { "file:write('x', nil)", "write", "bad argument #2 to 'write' (string expected, got nil)" },
  { "file:seek('start')", "seek", "\"set\", \"cur\" or \"end\" expected, got 'start'" },
  { "file:seek('set', '1')", "seek", "bad argument #2" },
  { "file:truncate(-1)", "truncate", "number of bytes, 0 or more, expected" },
  { "asyncio.create_subprocess_exec()", "create_subprocess_exec", "#1", "string or number expected, got nil" },
  { "asyncio.create_subprocess_exec('true', true)", "create_subprocess_exec", "bad argument #2" },
  { "asyncio.create_subprocess_shell {}", "create_subprocess_shell", "string expected, got table" },
  { "asyncio.run_process()", "run_process", "list {program, arg, ...} or script expected, got nil" },
  { "asyncio.run_process({ 'true' }, { cwdd = '/' })", "run_process", "did you mean 'cwd'?" },
  { "asyncio.redis.connect(5)", "connect", "URL (a string) or table of options expected, got number" },
  { "asyncio.redis.connect 'http://h'", "connect", "redis://, rediss:// or unix:// expected" },
  { "asyncio.redis.connect { host = 5 }", "connect", "'host'" },
  { "asyncio.distributed.DistributedExecutor()", "DistributedExecutor", "table of options expected" },
  { "asyncio.distributed.DistributedExecutor {}", "DistributedExecutor", "'url'" },
  { "asyncio.distributed.DistributedExecutor { url = 'http://h' }", "DistributedExecutor", "'url': redis://" },
  { "asyncio.distributed.DistributedExecutor { url = 'redis://h', queue = '{' }", "DistributedExecutor", "'queue'" },
  { "asyncio.parsers.http()", "http", "table of options" },
  { "asyncio.parsers.http { role = 'proxy' }", "http", "'role'" },
  { "asyncio.parsers.websocket()", "websocket", "table of options" },
  { "asyncio.parsers.websocket { role = 'proxy' }", "websocket", "'role'" },
  { "asyncio.parsers.websocket_accept()", "websocket_accept", "string expected, got no value" },
  { "asyncio.parsers.websocket_may_say 'x'", "websocket_may_say", "number expected, got string" },
  { "asyncio.parsers.headers()", "headers", "#1 to 'headers' (value expected)" },
  { "asyncio.parsers.headers { A = 'b\\n' }", "headers", "the value of 'A' has a control character" },
  { "asyncio.parsers.headers { ['A b'] = 'c' }", "headers", "'A b' is no name of a field" },
  { "asyncio.parsers.decode()", "decode", "string expected, got no value" },
  { "asyncio.parsers.encode {}", "encode", "string expected, got table" },
  { "asyncio.parsers.decode_form()", "decode_form", "string expected, got no value" },
  { "asyncio.parsers.encode_form 'a'", "encode_form", "table expected, got string" },
  { "asyncio.parsers.pack(print)", "pack", "#1 to 'pack' (cannot pack a C function at value)" },
  { "asyncio.parsers.pack(1, 2)", "pack", "#2 to 'pack' (table of options expected, got number)" },
  { "asyncio.parsers.pack(1, { list = true })", "pack", "#1 to 'pack' (list expected, got number)" },
  { "asyncio.parsers.unpack()", "unpack", "#1 to 'unpack' (string expected, got nil)" },
  { "asyncio.parsers.unpack('', 2)", "unpack", "#2 to 'unpack' (no position in a string of 0 bytes)" },
  { "asyncio.parsers.unpack('', 1, 2)", "unpack", "#3 to 'unpack' (table of options expected, got number)" },
  { "asyncio.parsers.url()", "url", "string expected, got no value" },
  { "asyncio.parsers.join_url('http://h/')", "join_url", "#2 to 'join_url' (string expected, got no value)" },
  { "asyncio.parsers.parse_authority()", "parse_authority", "string expected, got no value" },
  { "asyncio.parsers.date 'now'", "date", "number expected, got string" },
  { "asyncio.parsers.parse_date()", "parse_date", "string expected, got no value" },
  { "asyncio.parsers.reason 'ok'", "reason", "number expected, got string" },
  { "asyncio.parsers.is_token()", "is_token", "string expected, got no value" },
  { "asyncio.http.serve()", "serve", "write serve(handler, ...), not serve(handler(...), ...)" },
  { "asyncio.http.serve(print, '127.0.0.1', 'x')", "serve", "#3 to 'serve' (port number expected, got string)" },
  { "asyncio.http.serve(print, { port = 0, max_boddy = 5 })", "serve", "did you mean 'max_body'?" },
  { "asyncio.http.serve(print, { port = 0, max_body = -1 })", "serve", "'max_body': integer that isn't negative, or" },
  { "asyncio.http.serve(print, { path = '/x', port = 5 })", "serve", "'port' does not go with 'path'" },
  { "asyncio.http.abort(200)", "abort", "status from 300 to 599 expected, got number" },
  { "asyncio.http.abort(404, {})", "abort", "#2 to 'abort' (string or nil expected, got table)" },
  { "asyncio.http.file('/', 'x', '.')", "file", "#1 to 'file' (request expected, got string)" },
  { "asyncio.fs.read_file()", "read_file", "path (a string) expected, got nil" },
  { "asyncio.fs.write_file('/f')", "write_file", "#2 to 'write_file' (string expected, got nil)" },
  { "asyncio.fs.write_file('/f', '', { mode = '888' })", "write_file", "'mode': a mode expected, an integer or octal" },
  { "asyncio.fs.write_file('/f', '', { atomc = true })", "write_file", "did you mean 'atomic'?" },
  { "asyncio.fs.copy_file('/f')", "copy_file", "#2 to 'copy_file' (path (a string) expected, got nil)" },
  { "asyncio.fs.watch()", "watch", "path (a string) expected, got nil" },
  { "asyncio.fs.watch('/', { debounce = '1' })", "watch", "debounce" },
  { "asyncio.trace()", "trace", "string expected, got nil" },
  { "asyncio.trace 'x.txt'", "trace", "for Perfetto and others, expected, got" },
  { "asyncio.trace { path = 'x.json', max_evnts = 5 }", "trace", "did you mean 'max_events'?" },
  { "asyncio.trace 'a\\0b.json'", "trace", "a zero byte, which no path has" },
  { "asyncio.fs.stat 'a\\0b'", "stat", "a zero byte, which no path has" },
  { "asyncio.fs.lstat(5)", "lstat", "got number" },
  { "asyncio.fs.exists()", "exists", "path (a string) expected" },
  { "asyncio.fs.access('/', 'q')", "access", 'letters of "rwx" expected, got q' },
  { "asyncio.fs.real_path {}", "real_path", "got table" },
  { "asyncio.fs.rename('/a', 5)", "rename", "#2 to 'rename' (path" },
  { "asyncio.fs.unlink()", "unlink", "path" },
  { "asyncio.fs.link('/a')", "link", "bad argument #2" },
  { "asyncio.fs.symlink(nil, '/a')", "symlink", "bad argument #1" },
  { "asyncio.fs.read_link(true)", "read_link", "got boolean" },
  { "asyncio.fs.chmod '/a'", "chmod", 'octal digits like "644", got nil' },
  { "asyncio.fs.chmod('/a', 4096)", "chmod", 'octal digits like "644", got 4096' },
  { "asyncio.fs.chown('/a', 'root')", "chown", "#2 to 'chown' (id (an integer) or nil expected, got string" },
  { "asyncio.fs.chown('/a', nil, -1)", "chown", "bad argument #3" },
  { "asyncio.fs.utime('/a', 0 / 0)", "utime", "time (seconds since 1970) or nil expected" },
  { "asyncio.fs.utime('/a', nil, 5)", "utime", "bad argument #2" },
  { "asyncio.fs.mkdir('/a', 1.5)", "mkdir", "a mode expected" },
  { "asyncio.fs.makedirs()", "makedirs", "path" },
  { "asyncio.fs.rmdir()", "rmdir", "path" },
  { "asyncio.fs.remove_tree()", "remove_tree", "path" },
  { "asyncio.fs.mkdtemp '/tmp'", "mkdtemp", "table of options expected" },
  { "asyncio.fs.mkstemp { prefix = 'a/b' }", "mkstemp", "'prefix': a slash or a zero byte" },
  { "asyncio.fs.list_dir()", "list_dir", "path" },
  { "asyncio.fs.scan_dir()", "scan_dir", "path" },
  { "asyncio.fs.walk()", "walk", "path" },
  { "asyncio.race()", "race", "bad argument #1 to 'race' (task, future, coroutine or function expected, got nil" },
  { "asyncio.race {}", "race", "the list is empty" },
  { "asyncio.race(nothing, 5)", "race", "bad argument #2 to 'race' (task, future, coroutine or function expected" },
  { "asyncio.race { nothing, 5 }", "race", "at 2 expected, got number" },
  { "asyncio.race { nothing, timeout = 1 }", "race", "unknown option 'timeout'" },
  { "asyncio.map(5, {})", "map", "bad argument #1 to 'map' (function expected, got number" },
  { "asyncio.map(nothing, 5)", "map", "bad argument #2 to 'map' (list expected, got number)" },
  { "asyncio.map(nothing, { n = -1 })", "map", "its n is no length: -1" },
  { "asyncio.map(nothing, { n = 1.5 })", "map", "its n is no length: 1.5" },
  { "asyncio.map(nothing, {}, 5)", "map", "bad argument #3" },
  { "asyncio.map(nothing, {}, { max_concurrent = 0 })", "map", "integer of 1 or more expected, got 0" },
  { "asyncio.type()", "type", "value expected" },
  { "asyncio.http.request(5)", "request", "bad argument #1 to 'request' (URL expected, got number)" },
  { "asyncio.http.websocket()", "websocket", "bad argument #1 to 'websocket' (URL expected, got " },
  { "asyncio.http.websocket 'http//x'", "websocket", "ws:// or wss:// expected" },
  { "asyncio.http.websocket('ws://x', { protocols = { 'a b' } })", "websocket", "'protocols'" },
  { "asyncio.http.websocket { url = 'ws://x', headers = { Upgrade = 'h2c' } }", "websocket", "handshake's own" },
  { "asyncio.http.get('nothing')", "get", "bad argument #1 to 'get' (URL expected, got \"nothing\": " },
  { "asyncio.http.post('http://x', 5)", "post", "bad argument #2 to 'post' (table of options expected" },
  { "asyncio.http.put('http://x', { body = true })", "put", "string, list of strings, function or reader expected" },
  { "asyncio.http.patch('http://x', { form = 5 })", "patch", "'form': " },
  { "asyncio.http.delete('http://x', { query = 5 })", "delete", "'query': " },
  { "asyncio.http.head { url = 'http://x', headers = 5 }", "head", "bad argument #1 to 'head' ('headers': " },
  { "asyncio.http.Client { max_connections = 0 }", "Client", "'max_connections': " },
  { "asyncio.http.Client():get(5)", "get", "bad argument #1 to 'get' (URL expected, got number)" },
  { "asyncio.http.Client():post('http://x', { auth = 5 })", "post", "bad argument #2 to 'post' ('auth': " },
  { "asyncio.current_task():stop()", "stop", "a task cannot stop itself" },
  { "group:start()", "start", "bad argument #1 to 'start' (function or coroutine expected" },
  { "group:start(5)", "start", "expected, got number; write start(f, x), not start(f(x))" },
  { "group:start { nothing, nam = 'x' }", "start", "unknown option 'nam'" },
  { "writer:start_tls()", "start_tls", "#1 to 'start_tls' (true or a client's context expected" },
  { "writer:start_tls(true, 5)", "start_tls", "table of options expected, got number" },
  { "writer:start_tls(5, { server_side = true })", "start_tls", "#1 to 'start_tls' (a server's context expected" },
  { "writer:start_tls(true, { server_side = true, server_hostname = 'x' })", "start_tls", "bad argument #2" },
  { "writer:start_tls(true, { ssl_handshake_timeout = 0 })", "start_tls", "'ssl_handshake_timeout': number of" },
  { "server:set_ssl_context(true)", "set_ssl_context", "a server's context expected" },
  { "asyncio.open_connection('h', 80, { ssl = 5 })", "open_connection", "#3 to 'open_connection' ('ssl': true or" },
  { "asyncio.open_connection { host = 'h', port = 80, ssl = {} }", "open_connection", "#1 to" },
  { "asyncio.open_connection('h', 80, { server_hostname = 'x' })", "open_connection", "does not go without 'ssl'" },
  { "asyncio.open_unix_connection('/x', { ssl = print })", "open_unix_connection", "got function" },
  { "asyncio.start_server(nothing, 'h', 0, { ssl = true })", "start_server", "'ssl': a server's context expected" },
  { "asyncio.start_server(nothing, { port = 0, ssl = 5 })", "start_server", "bad argument #2" },
  { "asyncio.start_server(nothing, 'h', 0, { max_handshakes = 0, ssl = 5 })", "start_server", "'max_handshakes': " },
  { "asyncio.start_unix_server(nothing, '/x', { ssl = 5 })", "start_unix_server", "bad argument #3" },
  { "asyncio.start_unix_server(nothing, '/x', { max_handshakes = 5 })", "start_unix_server", "without 'ssl'" },
  { "asyncio.ssl.create_default_context(5)", "create_default_context", "table of options expected, got number" },
  { "asyncio.ssl.create_default_context { cafile = 'x\\0' }", "create_default_context", "'cafile': path with a zero" },
  { "asyncio.ssl.create_default_context { keyfile = 'x' }", "create_default_context", "without 'certfile'" },
  { "asyncio.ssl.create_default_context { verify_mode = 'none', check_hostname = true }", "create_default_context",
    "'check_hostname' does not go with 'verify_mode'" },
  { "asyncio.ssl.create_default_context { sni = {} }", "create_default_context", "'sni' is for servers" },
  { "asyncio.ssl.create_default_context { maximum_version = 'TLSv1.1' }", "create_default_context",
    "'minimum_version' has to be said, too" },
  { "asyncio.ssl.create_server_context { minimum_version = 'TLSv1.3', maximum_version = 'TLSv1.2' }",
    "create_server_context", "'minimum_version' is TLSv1.3, but 'maximum_version' TLSv1.2" },
  { "asyncio.ssl.create_server_context { check_hostname = true }", "create_server_context", "is for clients" },
  { "asyncio.ssl.create_server_context { alpn_protocols = { 'h2', '' } }", "create_server_context", "number 2 has 0" },
  { "asyncio.ssl.create_server_context { alpn_protocols = { 5 } }", "create_server_context", "list of names expected" },
  { "asyncio.ssl.create_server_context { sni = 5 }", "create_server_context", "table of contexts, or function," },
  { "asyncio.ssl.create_server_context { sni = { x = 5 } }", "create_server_context", "'sni': x: a server's context" },
  { "asyncio.ssl.create_server_context { sni = { ['*.x'] = 5 } }", "create_server_context", "names only" },
  { "asyncio.ssl.SSLContext {}", "SSLContext", "'purpose': " },
}

-- Those of contexts need one.
local WRONG_OF_CONTEXT = {
  { "context:load_cert_chain()", "load_cert_chain", "path or PEM text expected, got nil" },
  { "context:load_cert_chain('x', 5)", "load_cert_chain", "bad argument #2" },
  { "context:load_cert_chain('x', 'y', 5)", "load_cert_chain", "bad argument #3" },
  { "context:load_cert_chain('x\\0')", "load_cert_chain", "with a zero byte" },
  { "context:load_verify_locations {}", "load_verify_locations", "'cafile', 'capath' or 'cadata' expected" },
  { "context:set_alpn_protocols('h2')", "set_alpn_protocols", "list of names expected, got string" },
  { "context:set_alpn_protocols { ('x'):rep(256) }", "set_alpn_protocols", "1 to 255 bytes, number 1 has 256" },
  { "context:set_ciphers(5)", "set_ciphers", "string expected, got number" },
  { "context:set_ciphersuites()", "set_ciphersuites", "string expected, got nil" },
  { "asyncio.open_connection('b\u{fc}cher', 80, { ssl = context })", "open_connection", "beginning with xn--" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = '' })", "open_connection", "an empty name" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = '.' })", "open_connection", "an empty name" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = '.x' })", "open_connection", "empty part" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = 'x..' })", "open_connection", "empty part" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = '*.x' })", "open_connection", 'has a "*"' },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = 'h%x:y' })", "open_connection", 'has a "%"' },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = '1.2.3.4%y' })",
    "open_connection", 'has a "%"' },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = 'a\\0' })", "open_connection", "zero byte" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = 'a b' })", "open_connection", "a space" },
  { "asyncio.open_connection('h', 80, { ssl = context, server_hostname = ('x'):rep(256) })", "open_connection",
    "255 bytes at most, got 256" },
  { "asyncio.open_unix_connection('/x', { ssl = checking })", "open_unix_connection", "'server_hostname' expected" },
  { "asyncio.start_server(nothing, 'h', 0, { ssl = context })", "start_server", "server's context expected" },
  { "asyncio.start_server(nothing, 'h', 0, { ssl = bare })", "start_server", "a context with a certificate expected" },
  { "server:set_ssl_context(context)", "set_ssl_context", "got a client's" },
  { "writer:start_tls(bare)", "start_tls", "got a server's: that goes with server_side = true" },
}
if HAS_TLS then table.move(WRONG_OF_CONTEXT, 1, #WRONG_OF_CONTEXT, #WRONG + 1, WRONG) end

TestArgument = {}

function TestArgument:test_errors_are_the_callers()
  objects(function(all)
    local loop = all.Loop
    local task = asyncio.create_task(nothing)
    local env = setmetatable({
      asyncio = asyncio, testing = testing, loop = loop, task = task, nothing = nothing, group = all.TaskGroup,
      pool = all.ThreadPoolExecutor, reader = all.StreamReader, writer = all.StreamWriter, condition = all.Condition,
      queue = all.Queue, channel = all.Channel, future = all.Future, limit = all.Timeout,
      server = all.Server, context = all.SSLContext, file = all.File,
      endpoint = all.DatagramEndpoint,
    }, { __index = _G })
    if HAS_TLS then
      env.checking = asyncio.ssl.SSLContext { purpose = "client", check_hostname = true }
      env.bare = asyncio.ssl.SSLContext { purpose = "server" }
    end
    for _, case in ipairs(WRONG) do
      local call = assert(load("local _ = nil\n" .. case[1], "=" .. HERE, "t", env))
      local ok, err = pcall(call)
      t.assertFalse(ok, case[1])
      of_argument(err, 2, case[2], case[1])
      if case[3] then t.assertStrContains(err, case[3], false, case[1]) end
    end
  end)
end

--- What takes anything, or nothing.
local TAKES_ANYTHING = {
  "get_running_loop", "get_event_loop", "new_event_loop", "current_task", "isfuture", "pcall", "run", "shield", "time",
  "to_thread", "thread_cancelled", "traceback", "LifoQueue", "PriorityQueue", "BoundedSemaphore",
}

function TestArgument:test_errors_of_every_function_were_tried()
  local tried = {}
  for _, name in ipairs(TAKES_ANYTHING) do tried[name] = true end
  for _, case in ipairs(WRONG) do tried[case[2]] = true end
  for name, value in pairs(asyncio) do
    if type(value) == "function" then t.assertTrue(tried[name], "no wrong call of asyncio." .. name) end
  end
end

function TestArgument:test_a_function_that_pcall_calls_has_its_public_name()
  t.real(function()
    for name, call in pairs {
      Channel = { asyncio.Channel, "x" }, sleep = { asyncio.sleep, "x" }, create_task = { asyncio.create_task, 5 },
      Queue = { asyncio.Queue, { 5 } }, await = { asyncio.await, 5 }, wait_readable = { asyncio.wait_readable, "x" },
    } do
      t.assertErrorMsgContains(("bad argument #1 to 'asyncio.%s' ("):format(name), table.unpack(call))
    end
  end)
end

function TestArgument:test_a_method_that_pcall_calls_has_its_name()
  t.real(function()
    local loop = asyncio.get_running_loop()
    t.assertErrorMsgContains("bad argument #3 to 'getaddrinfo' (", loop.getaddrinfo, loop, "127.0.0.1", 70000)
    local queue, condition = asyncio.Queue(), asyncio.Condition()
    t.assertErrorMsgContains("bad argument #2 to 'shutdown' (", queue.shutdown, queue, 1)
    t.assertErrorMsgContains("bad argument #2 to 'wait_for' (", condition.wait_for, condition)
  end)
end

function TestArgument:test_errors_of_a_field_are_the_callers()
  t.run(function()
    local loop = asyncio.get_running_loop()
    local err = t.error_of(function() loop.slow_callback_duration = "x" end)
    t.assertEquals(err, ("%s:%d: bad value for 'slow_callback_duration' (%s)"):format(HERE, line_of_caller() - 1,
      "number of seconds, 0 or more, expected, got string"))
    err = t.error_of(function() loop.slow_callback_duration = -1 end)
    t.assertStrContains(err, "number of seconds, 0 or more, expected, got -1")
    t.assertEquals(loop.slow_callback_duration, 0.1)
    err = t.error_of(function() loop[1] = "x" end)
    t.assertStrContains(err, "no field '1' to set")
  end)
end

function TestArgument:test_an_error_of_the_core_is_placed_at_who_called_the_library()
  t.run(function()
    local other <close> = asyncio.new_event_loop()
    local future = other:create_future()
    local line = line_of_caller() + 1
    local err = t.error_of(function() asyncio.wait_for(future, 1) end)
    t.assertStrContains(tostring(err), ("%s:%d: cannot await a future of another event loop"):format(HERE, line))
  end)
end

--- A job that isn't done when somebody awaits it.
local function rest() require "asyncio".blocking_sleep(0.5) end

--- Calls that wait, or stand in a task; how they are called in the error; what is said where no task can wait.
local WAITING = {
  { "asyncio.sleep(1)", "asyncio.sleep cannot wait " },
  { "asyncio.await(task)", "asyncio.await cannot wait " },
  { "asyncio.open_connection('127.0.0.1', 9)", "asyncio.open_connection cannot wait " },
  { "asyncio.open_connection('127.0.0.1', 9, { connect_timeout = 5 })", "asyncio.open_connection cannot wait " },
  { "asyncio.start_server(nothing, '127.0.0.1', 0)", "asyncio.start_server cannot wait " },
  { "asyncio.wait { task }", "asyncio.wait cannot wait " },
  { "asyncio.gather(task)", "asyncio.gather cannot wait " },
  { "asyncio.gather { task, return_exceptions = true }", "asyncio.gather cannot wait " },
  { "asyncio.to_thread(rest)", "asyncio.to_thread cannot wait " },
  { "pool:map(rest, { 1 })", "map cannot wait " },
  { "queue:get()", "get cannot wait " },
  { "asyncio.move_on_after(1, asyncio.sleep, 1)", "asyncio.move_on_after cannot wait ",
    "a timeout can only be used inside a task" },
  { "asyncio.wait_for(task, 1)", "asyncio.wait_for cannot wait ", "a timeout can only be used inside a task" },
  { "asyncio.timeout(1)", false, "a timeout can only be used inside a task: make it in a function that " },
  { "asyncio.TaskGroup()", false, "a task group can only be used inside a task: make it in a function that " },
  { "asyncio.run(nothing)", "an event loop is already running" },
}

function TestArgument:test_a_call_that_cannot_wait_is_named_as_the_user_called_it()
  objects(function(all)
    local task = asyncio.create_task(asyncio.sleep, 3600)
    local env = setmetatable({
      asyncio = asyncio, task = task, nothing = nothing, pool = asyncio.ThreadPoolExecutor(1), queue = all.Queue,
      rest = rest,
    }, { __index = _G })
    local function check(err, case, words)
      err = type(err) == "table" and err.message or tostring(err)
      t.assertStrContains(err, HERE .. ":2: " .. words, false, case[1])
      t.assertNotStrContains(err, "asyncio/", false, case[1])
    end
    for _, case in ipairs(WAITING) do
      local call = assert(load("local _ = nil\n" .. case[1] .. "\n_ = nil", "=" .. HERE, "t", env))
      if case[2] then
        check(t.error_of(string.gsub, "a", "a", function() call() end), case, case[2])
      end
      local err
      all.Loop:call_soon(function() err = t.error_of(call) end)
      asyncio.sleep(0)
      check(err, case, case[3] or case[2])
    end
    task:cancel()
    env.pool:shutdown()
  end)
end

function TestArgument:test_the_end_of_a_block_that_cannot_wait_is_told()
  t.run(function()
    local err = t.error_of(string.gsub, "a", "a", function()
      local group <close> = asyncio.TaskGroup()
      group:create_task(nothing)
    end)
    t.assertStrContains(tostring(err), "the end of the block cannot wait inside string.gsub")
    asyncio.sleep(0)
  end)
end

function TestArgument:test_what_the_loop_calls_itself_was_not_called_by_who_runs_it()
  t.run(function(reports)
    asyncio.get_running_loop():call_soon(asyncio.sleep, 1)
    local task = asyncio.create_task(asyncio.sleep, 1)
    asyncio.get_running_loop():call_soon(asyncio.wait, { task })
    asyncio.await(task)
    for _, name in ipairs { "sleep", "wait" } do
      local report = table.remove(reports, 1)
      t.assertStrMatches(report.exception.message, "asyncio%." .. name .. " cannot wait outside .*")
    end
  end)
end

function TestArgument:test_a_task_that_would_wait_for_itself_is_told_where()
  t.run(function()
    local line = line_of_caller() + 1
    local err = t.error_of(function() asyncio.gather(asyncio.current_task()) end)
    t.assertStrContains(err.message, ("%s:%d: a task cannot wait for itself"):format(HERE, line))
  end)
end

function TestArgument:test_a_loop_factory_that_makes_no_loop_is_told()
  for given, words in pairs { [5] = "gave number in place", [false] = "gave boolean in place" } do
    local runner = asyncio.Runner { loop_factory = function() return given end }
    local line = line_of_caller() + 1
    local err = t.error_of(function() runner:run(print) end)
    t.assertStrContains(tostring(err), ("%s:%d: the runner's loop_factory "):format(HERE, line))
    t.assertStrContains(tostring(err), words)
    runner:close()
  end
  local closed = asyncio.new_event_loop()
  closed:close()
  local runner <close> = asyncio.Runner { loop_factory = function() return closed end }
  t.assertStrContains(tostring(t.error_of(runner.run, runner, print)), "loop_factory gave an event loop that is closed")
end

function TestArgument:test_tracebacks_have_public_names_only()
  t.run(function()
    local traceback
    local task = asyncio.create_task(function() asyncio.await(asyncio.create_task(asyncio.sleep, 1)) end)
    asyncio.sleep(0)
    traceback = task:traceback()
    t.assertStrContains(traceback, "'asyncio.await'")
    t.assertNotStrContains(traceback, "asyncio.core")
    asyncio.await(task)
    task = asyncio.create_task(function() asyncio.open_connection("127.0.0.1", 1, { foo = 1 }) end)
    asyncio.wait { task }
    t.assertStrContains(tostring(task:exception()), "unknown option 'foo'")
    t.assertStrContains(task:traceback(), "'asyncio.open_connection'")
    t.assertNotStrContains(task:traceback(), "_OPTIONS")
  end)
end

-- f(x) in place of f, x

local CALLED = {
  { "asyncio.create_task(f(x))", "create_task(f, x), not create_task(f(x))" },
  { "asyncio.create_task { f(x) }", "create_task(f, x), not create_task(f(x))" },
  { "loop:create_task(f(x))", "create_task(f, x), not create_task(f(x))" },
  { "group:create_task(f(x))", "create_task(f, x), not create_task(f(x))" },
  { "asyncio.gather(f(x))", "gather(function() return f(x) end), not gather(f(x))", "nil" },
  { "asyncio.wait_for(f(x), 1)", "wait_for(function() return f(x) end, seconds), not wait_for(f(x), seconds)" },
  { "asyncio.shield(f(x))", "shield(function() return f(x) end), not shield(f(x))" },
  { "asyncio.to_thread(f(x))", "to_thread(f, x), not to_thread(f(x))" },
  { "pool:submit(f(x))", "submit(f, x), not submit(f(x))" },
  { "pool:map(f(x), {})", "map(f, list), not map(f(x), list)" },
  { "loop:run_in_executor(nil, f(x))", "run_in_executor(pool, f, x), not run_in_executor(pool, f(x))" },
  { "loop:call_soon(f(x))", "call_soon(f, x), not call_soon(f(x))" },
  { "loop:call_later(1, f(x))", "call_later(delay, f, x), not call_later(delay, f(x))" },
  { "loop:call_at(1, f(x))", "call_at(delay, f, x), not call_at(delay, f(x))" },
  { "loop:remote():call_soon_threadsafe(f(x))", "call_soon_threadsafe(f, x), not call_soon_threadsafe(f(x))" },
  { "loop:add_reader(0, f(x))", "add_reader(fd, f, x), not add_reader(fd, f(x))" },
  { "loop:add_signal_handler('SIGUSR1', f(x))", "add_signal_handler(signal, f, x), not add_signal_handler(signal," },
  { "future:add_done_callback(f(x))", "add_done_callback(f), not add_done_callback(f())" },
  { "asyncio.start_server(f(x), '127.0.0.1', 0)", "start_server(handler, ...), not start_server(handler(...), ...)" },
  { "asyncio.start_unix_server(f(x), '/tmp/x')", "start_unix_server(handler, ...), not" },
  { "asyncio.gather({ 1 and f(x) or nil, n = 1 })", "function() return f(x) end, not f(x)", "both" },
  { "condition:wait_for(f(x))", "wait_for(f), not wait_for(f())" },
  { "testing.async(f(x))", "async(f), not async(f())" },
  { "asyncio.move_on_after(1, f(x))", "move_on_after(delay, f, x), not move_on_after(delay, f(x))" },
}

TestCalled = {}

function TestCalled:test_a_function_that_was_called_instead_of_passed_is_told()
  objects(function(all)
    for _, result in ipairs { "", "nil", "42", "'text'" } do
      local env = { asyncio = asyncio, testing = testing, condition = all.Condition, loop = all.Loop,
        group = all.TaskGroup, pool = all.ThreadPoolExecutor,
        future = all.Future, f = load("return " .. result), x = 1 }
      for _, case in ipairs(CALLED) do
        local left_out = case[3] and result == "" -- gather() of nothing is the empty list
        if not left_out then
          local call = assert(load("local _ = nil\n" .. case[1], "=" .. HERE, "t", env))
          local err = of_argument(t.error_of(call), 2, case[1]:match "([%w_]+)%s*[({][^()]*[f{]", case[1])
          t.assertStrContains(err, "; write " .. case[2], false, case[1])
        end
      end
    end
  end)
end

function TestCalled:test_main_that_was_called_instead_of_passed_is_told()
  local function main() end
  for _, err in ipairs {
    t.error_of(function() asyncio.run(main()) end), t.error_of(function() asyncio.Runner():run(main()) end),
  } do
    t.assertStrContains(err, HERE)
    t.assertStrContains(err, "bad argument #1 to 'run' (function or coroutine expected, got nil; " ..
      "write run(main, x), not run(main(x)))")
  end
  local loop <close> = asyncio.new_event_loop()
  t.assertErrorMsgContains("bad argument #1 to 'run_until_complete'", function() loop:run_until_complete(main()) end)
end

-- What was ignored, or wrong at the edge

TestEdge = {}

function TestEdge:test_create_task_keeps_trailing_nils_when_it_is_told_how_many()
  t.run(function()
    local function count(...) return select("#", ...) end
    t.assertEquals(asyncio.await(asyncio.create_task { n = 3, count, nil, nil }), 2)
    t.assertEquals(asyncio.await(asyncio.create_task(table.pack(count, nil, 1, nil))), 3)
    t.assertErrorMsgContains("'n': integer from 0", asyncio.create_task, { count, n = -1 })
    t.assertEquals(#asyncio.gather { n = 1, count }, 1)
  end)
end

function TestEdge:test_a_semaphore_of_all_values_is_one_like_others()
  t.run(function()
    local bounded = asyncio.BoundedSemaphore(math.maxinteger)
    t.assertStrContains(tostring(bounded), "BoundedSemaphore")
    t.assert_raises(asyncio.InvalidStateError, bounded.release, bounded)
    local plain = asyncio.Semaphore(math.maxinteger)
    t.assertNotStrContains(tostring(plain), "Bounded")
    t.assert_raises(asyncio.InvalidStateError, plain.release, plain)
    plain:acquire()
    plain:release()
  end)
end

function TestEdge:test_a_runner_that_was_never_used_can_be_closed_anywhere()
  t.run(function()
    local runner <close> = asyncio.Runner()
    runner:close()
    t.assert_raises(asyncio.ClosedError, runner.get_loop, runner)
  end)
end

function TestEdge:test_ports_are_what_they_are()
  t.real(function()
    local loop = asyncio.get_running_loop()
    t.assertEquals(loop:getaddrinfo("127.0.0.1", 80.0)[1].port, 80)
    t.assertEquals(loop:getaddrinfo("127.0.0.1", "80")[1].port, 80)
    t.assertEquals(loop:getaddrinfo("127.0.0.1", 65535)[1].port, 65535)
    for _, port in ipairs { 65536, -1, math.mininteger, "65536", "-1", " 70000" } do
      t.assertErrorMsgContains("port from 0 to 65535", loop.getaddrinfo, loop, "127.0.0.1", port)
    end
  end)
end

function TestEdge:test_the_library_may_stand_where_the_program_does()
  t.assertEquals(core.kind_of(0 / 0), "NaN") -- what errors call it
end

-- They were '?', and open_fd's error stood at a line of the library's own.
function TestSelf:test_of_methods_that_pcall_calls()
  t.run(function()
    local reader, writer, _, other = asyncio.stream_pair()
    local fed, refused = asyncio.StreamReader(), "bad argument #%d to '%s' (%s expected, got %s)"
    for _, case in ipairs {
      { { reader.read, {} }, 1, "read", "asyncio.StreamReader", "table" },
      { { reader.feed, 1, "x" }, 1, "feed", "asyncio.StreamReader", "number" },
      { { writer.write, {} }, 1, "write", "asyncio.StreamWriter", "table" },
      { { writer.detach }, 1, "detach", "asyncio.StreamWriter", "no value" },
      { { fed.feed, fed, {} }, 2, "feed", "string", "table" },
      { { writer.write, writer, {} }, 2, "write", "string", "table" },
      { { writer.writelines, writer }, 2, "writelines", "table", "no value" },
      { { writer.get_extra_info, writer }, 2, "get_extra_info", "string", "no value" },
    } do
      local _, err = pcall(table.unpack(case[1]))
      t.assertEquals(err, refused:format(table.unpack(case, 2)))
    end
    local _, err = pcall(asyncio.open_fd, "x")
    t.assertStrContains(err, "words_of_arguments_spec.lua:")
    t.assertStrContains(err, "'asyncio.open_fd' (descriptor")
    writer:close()
    other:close()
  end)
end

t.finish()
