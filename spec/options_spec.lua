-- Tables of options: every one of the library, with what no call may take in silence.
local t = require "helper"
local core = require "asyncio.core"
local fake_redis = require "redis.fake"
local program = require "program"

local asyncio, testing = t.asyncio, t.testing

local function nothing() end

local function on_writer(fn)
  local server <close> = asyncio.start_server(function() end, "127.0.0.1", 0)
  local reader, writer <close> = asyncio.open_connection("127.0.0.1", server:sockets()[1].port)
  return fn(writer, reader)
end

local function in_pool(fn)
  local pool <close> = asyncio.ThreadPoolExecutor(1)
  return fn(pool)
end

--- Nobody is there: options that are all right meet an OSError.
local function refused_by_redis(fn, ...)
  local ok, err = pcall(fn, ...)
  if not ok and not asyncio.isinstance(err, asyncio.OSError) then error(err, 0) end
end

local function on_redis(fn)
  fake_redis.with(function(link) link:serve { SUBSCRIBE = "+OK\r\n", PSUBSCRIBE = "+OK\r\n" } end, function()
    local client <close> = asyncio.redis.connect { connect_timeout = 0.05 }
    return fn(client)
  end)
end

local HAS_TLS = pcall(require, "asyncio.openssl") -- without it there are no contexts whose methods to call

--- How each is called with a table of options; a new one needs a line here.
local CALLS = {
  Lock = asyncio.Lock, Event = asyncio.Event, TaskGroup = asyncio.TaskGroup,
  Condition = asyncio.Condition, Barrier = asyncio.Barrier,
  Semaphore = asyncio.Semaphore, BoundedSemaphore = asyncio.BoundedSemaphore,
  Queue = asyncio.Queue, LifoQueue = asyncio.LifoQueue, PriorityQueue = asyncio.PriorityQueue,
  Channel = asyncio.Channel, ThreadPoolExecutor = asyncio.ThreadPoolExecutor, Runner = asyncio.Runner,
  Pool = asyncio.Pool, await_callback = asyncio.await_callback,
  create_task = asyncio.create_task, gather = asyncio.gather, race = asyncio.race,
  map = function(opts) asyncio.map(nothing, { 1 }, opts) end,
  monitor = function(opts) asyncio.monitor(opts):close() end,
  stdin = asyncio.stdin, stdout = asyncio.stdout, stderr = asyncio.stderr,
  ["wait 1"] = function(list) asyncio.wait(list) end,
  ["as_completed 1"] = function(list) asyncio.as_completed(list) end,
  wait = function(opts) asyncio.wait({ nothing }, opts) end,
  as_completed = function(opts) asyncio.as_completed({ nothing }, opts) end,
  async = function(opts) testing.async(nothing, opts) end,
  ["open_connection 1"] = function(arguments) asyncio.open_connection(arguments) end,
  ["open_unix_connection 1"] = function(arguments) asyncio.open_unix_connection(arguments) end,
  ["start_server 2"] = function(arguments) asyncio.start_server(nothing, arguments) end,
  ["start_unix_server 2"] = function(arguments) asyncio.start_unix_server(nothing, arguments) end,
  open_connection = function(opts) asyncio.open_connection("127.0.0.1", 1, opts) end,
  open_unix_connection = function(opts) asyncio.open_unix_connection("/none", opts) end,
  start_server = function(opts) asyncio.start_server(nothing, "127.0.0.1", 0, opts) end,
  start_unix_server = function(opts) asyncio.start_unix_server(nothing, os.tmpname(), opts) end,
  create_datagram_endpoint = function(opts) asyncio.create_datagram_endpoint(opts):close() end,
  create_default_context = asyncio.ssl.create_default_context,
  create_server_context = asyncio.ssl.create_server_context, SSLContext = asyncio.ssl.SSLContext,
  load_verify_locations = HAS_TLS and function(opts)
    asyncio.ssl.SSLContext { purpose = "client" }:load_verify_locations(opts)
  end or nil,
  create_subprocess_exec = function(opts) asyncio.create_subprocess_exec({ "/no/such/program" }, opts) end,
  create_subprocess_shell = function(opts) asyncio.create_subprocess_shell("exit", opts) end,
  run_process = function(opts) asyncio.run_process({ "/no/such/program" }, opts) end,
  write_file = function(opts) asyncio.fs.write_file("/no/such/file", "", opts) end,
  walk = function(opts) asyncio.fs.walk("/", opts) end,
  watch = function(opts) asyncio.fs.watch("/no/such/file", opts) end,
  http = asyncio.parsers.http, websocket = asyncio.parsers.websocket,
  pack = function(opts) asyncio.parsers.pack({}, opts) end,
  unpack = function(opts) asyncio.parsers.unpack("\x90", 1, opts) end,
  ["connect 1"] = function(opts) refused_by_redis(asyncio.redis.connect, opts) end,
  ["connect 2"] = function(opts) refused_by_redis(asyncio.redis.connect, "redis://127.0.0.1:1", opts) end,
  transaction = function(opts) on_redis(function(client) client:transaction(nothing, opts) end) end,
  subscribe = function(opts) on_redis(function(client) client:subscribe(opts) end) end,
  DistributedExecutor = asyncio.distributed.DistributedExecutor,
  submit = function(opts)
    local executor <close> = asyncio.distributed.DistributedExecutor {
      url = "unix:///no/redis", connect_timeout = 0.01,
    }
    opts[1] = "a.b"
    local ok, err = asyncio.pcall(executor.submit, executor, opts)
    if not ok and not asyncio.isinstance(err, asyncio.ConnectionError) then error(err, 0) end
  end,
  mkdtemp = asyncio.fs.mkdtemp, mkstemp = asyncio.fs.mkstemp,
  start_tls = function(opts) on_writer(function(w) w:start_tls(true, opts) end) end,
  stream_pair = asyncio.stream_pair, StreamReader = asyncio.StreamReader,
  getaddrinfo = function(opts) asyncio.get_running_loop():getaddrinfo("127.0.0.1", 80, opts) end,
  getnameinfo = function(opts) asyncio.get_running_loop():getnameinfo({ host = "127.0.0.1", port = 80 }, opts) end,
  open_fd = function(opts) asyncio.open_fd(1 << 20, opts) end,
  copy = function(opts) on_writer(function(writer, reader) asyncio.copy(reader, writer, opts) end) end,
  set_write_buffer_limits = function(opts) on_writer(function(w) w:set_write_buffer_limits(opts) end) end,
  Client = asyncio.http.Client,
  trace = function(opts) asyncio.trace(opts):close() end,
  shutdown = function(opts) in_pool(function(pool) pool:shutdown(opts) end) end,
}

for _, name in ipairs { "request", "get", "post", "put", "patch", "delete", "head" } do
  CALLS[name] = function(opts) asyncio.http[name]("http://127.0.0.1:1/", opts) end
  CALLS[name .. " 1"] = function(arguments) asyncio.http[name](arguments) end
end

--- The function that calls it; `local_addr` and the like stand in the options of another.
local function call_of(options)
  local call = CALLS[("%s %d"):format(options.call, options.arg)] or CALLS[options.call]
  return call or t.fail("no call for the options of " .. options.call)
end

--- All tables, those of options of options too: with a function that calls with one, and what goes before a key.
local function each_table(fn)
  local function visit(options, call, prefix)
    fn(options, call, prefix)
    for _, spec in ipairs(options) do
      if spec.inner then
        visit(spec.inner, function(opts) call { [spec.key] = opts } end, prefix .. spec.key .. ".")
      end
    end
  end
  for _ in pairs(asyncio) do end -- what is loaded later has tables too
  local all, nested = core.option_tables(), {}
  for _, options in ipairs(all) do
    for _, spec in ipairs(options) do
      if spec.inner then nested[spec.inner.call] = true end
    end
  end
  local n = 0
  for _, options in ipairs(all) do
    local lacks = not HAS_TLS and options.call == "load_verify_locations"
    if not nested[options.call] and not lacks then visit(options, call_of(options), "") end
    n = n + 1
  end
  return n
end

--- The options that must be there.
local function required(options, but)
  local opts = {}
  for _, spec in ipairs(options) do
    if spec.required and spec ~= but then
      opts[spec.key] = spec.kind == "integer" and spec.least or spec.kind == "callable" and nothing
        or spec.kind == "choice" and spec.choices:match "^[^|]+" or "127.0.0.1"
    end
  end
  return opts
end

--- The error of the call, which says what is wrong, with which argument of whom.
local function refused(options, call, opts, words)
  local err = t.error_of(call, opts)
  local what = ("%s: %s"):format(options.call, tostring(err))
  t.assertEquals(type(err), "string", what)
  t.assertStrContains(err, "bad argument #", what)
  t.assertStrContains(err, words)
end

local WRONG = { -- values that are of no kind's
  boolean = { 0, 1, "true", {} },
  integer = { "5", 1.5, 0 / 0, true, {} },
  seconds = { "5", -1, 0 / 0, true, {} },
  positive = { "5", 0, -1, 0 / 0, {} },
  timeout = { "5", 0 / 0, true, {} },
  string = { 5, true, {} },
  ["function"] = { 5, true, "print", setmetatable({}, { __call = print }) },
  callable = { 5, true, "print", {} },
  choice = { 5, true, "", "|", {} },
  object = { 5, true, {}, setmetatable({}, {}) },
  table = { 5, true, "127.0.0.1" },
  list = { 5, true, "SIGTERM", print },
  switch = { 0, 1, "true", print },
  any = {},
}

local function wrong_values(spec)
  local values = table.move(WRONG[spec.kind], 1, #WRONG[spec.kind], 1, {})
  if spec.kind == "integer" and spec.least > math.mininteger then values[#values + 1] = spec.least - 1 end
  if spec.kind == "integer" and spec.most < math.maxinteger then values[#values + 1] = spec.most + 1 end
  if spec.kind == "choice" then values[#values + 1] = spec.choices:match "^[^|]+" .. "x" end
  if spec.kind == "choice" then values[#values + 1] = spec.choices end
  return values
end

TestOptions = {}

function TestOptions:test_no_key_is_ignored()
  t.real(function()
    local n = each_table(function(options, call, prefix)
      refused(options, call, { no_such_option = 1 }, ("unknown option '%sno_such_option'"):format(prefix))
      refused(options, call, { [print] = 1 }, "unknown option '" .. prefix .. "function: ")
      refused(options, call, { [1.5] = 1 }, "unknown option '" .. prefix .. "1.5'")
    end)
    t.assertTrue(n >= 28)
  end)
end

function TestOptions:test_a_misspelt_key_is_answered_with_the_right_one()
  t.real(function()
    each_table(function(options, call)
      for _, spec in ipairs(options) do
        if #spec.key > 3 then
          for _, key in ipairs { spec.key .. "s", spec.key:sub(2), (spec.key:gsub("^(.)(.)", "%1_%2")) } do
            refused(options, call, { [key] = 1 }, ("did you mean '%s'?"):format(spec.key))
          end
        end
      end
    end)
  end)
end

function TestOptions:test_each_value_has_its_type_and_its_range()
  t.real(function()
    each_table(function(options, call, prefix)
      for _, spec in ipairs(options) do
        for _, value in ipairs(wrong_values(spec)) do
          local opts = required(options, spec)
          opts[spec.key] = value
          refused(options, call, opts, ("'%s%s': "):format(prefix, spec.key))
        end
        if spec.required then refused(options, call, {}, ("'%s%s': "):format(prefix, spec.key)) end
      end
    end)
  end)
end

function TestOptions:test_a_value_without_a_name_is_no_option()
  t.real(function()
    each_table(function(options, call)
      if options.form ~= "list" then refused(options, call, { 10 }, "a value without a name") end
      if options.form == "constructor" then
        local name = options.call
        refused(options, call, { 10 }, ("write %s(10) or %s{%s=10}"):format(name, name, options[1].key))
      end
    end)
  end)
end

function TestOptions:test_what_is_no_table_is_refused()
  t.real(function()
    each_table(function(options, call, prefix)
      if options.form ~= "named" or prefix ~= "" then return end
      refused(options, call, 5, "table of options expected, got number")
    end)
  end)
end

function TestOptions:test_a_constructor_checks_a_plain_value_likewise()
  t.real(function()
    each_table(function(options, call)
      local spec = options[1]
      if options.form ~= "constructor" then return end
      for _, value in ipairs(wrong_values(spec)) do
        if type(value) ~= "table" then refused(options, call, value, "expected, got") end
      end
      if spec.required then refused(options, call, nil, "expected, got n") end
    end)
  end)
end

function TestOptions:test_without_a_near_key_all_are_named()
  t.assertErrorMsgContains("unknown option 'qqqqqqqq'; there are 'maxsize' and 'compare'", asyncio.PriorityQueue,
    { qqqqqqqq = 1 })
  t.assertErrorMsgContains("unknown option 'qqqqqqqq'; there is only 'maxsize'", asyncio.Queue, { qqqqqqqq = 1 })
  t.assertErrorMsgContains("unknown option 'qqqqqqqq': there are none", asyncio.Lock, { qqqqqqqq = 1 })
end

function TestOptions:test_defaults_may_be_inherited()
  local opts = setmetatable({}, { __index = { clock = "sundial" } })
  t.assertErrorMsgContains([['clock': "real" or "virtual" expected, got "sundial"]], testing.async, nothing, opts)
  opts = setmetatable({}, { __index = { clock = "virtual" } })
  testing.async(function() asyncio.sleep(1e6) end, opts)()
end

function TestOptions:test_floats_that_are_integers_are_integers()
  t.real(function()
    local server <close> = asyncio.start_server(nothing, "127.0.0.1", 0.0, { backlog = 5.0, limit = 1024.0 })
    local port = server:sockets()[1].port + 0.0
    local _, writer <close> = asyncio.open_connection("127.0.0.1", port)
    t.assertEquals(writer:get_extra_info "peername".port, port)
    local pool <close> = asyncio.ThreadPoolExecutor { max_workers = 1.0 }
    t.assertStrContains(tostring(pool), "1 ")
    t.assertEquals(asyncio.Queue(2.0):maxsize(), 2)
  end)
end

function TestOptions:test_they_are_taken_at_the_call()
  local opts = { debug = true }
  local runner <close> = asyncio.Runner(opts)
  opts.debug, opts.flush_timeout = "changed", "too late"
  t.assertTrue(runner:run(function() return asyncio.get_running_loop():get_debug() end))
end

function TestOptions:test_nothing_was_started_when_one_is_wrong()
  t.run(function()
    local ran = 0
    local function fn() ran = ran + 1 end
    t.error_of(asyncio.wait, { fn }, { timeuot = 1 })
    t.error_of(asyncio.wait, { fn, timeout = 1 })
    t.error_of(asyncio.as_completed, { fn }, { timeout = "1" })
    t.error_of(asyncio.gather, { fn, return_exception = true })
    t.error_of(asyncio.create_task, { fn, nme = "x" })
    asyncio.sleep(1)
    t.assertEquals(ran, 0)
  end)
end

-- Where keys are data

function TestOptions:test_errors_and_contexts_may_have_any_key()
  t.run(function(reports)
    t.assertEquals(asyncio.Error { message = "m", anything = 1 }.anything, 1)
    asyncio.get_running_loop():call_exception_handler { message = "m", anything = 2 }
    t.assertEquals(table.remove(reports).anything, 2)
  end)
end

-- The documents

local function read(name)
  local file <close> = assert(io.open(program.examples .. "../" .. name))
  return file:read "a"
end

local function sources()
  local list = {}
  local command = "cd '%s..' && ls src/*/*.c lua/asyncio/*.lua lua/asyncio/http/*.lua lua/asyncio/redis/*.lua "
    .. "lua/asyncio/distributed/*.lua"
  for name in io.popen(command:format(program.examples)):lines() do
    list[#list + 1] = read(name)
  end
  return table.concat(list, "\n")
end

--- The comments above functions, by the functions' names.
local function comments_in(text)
  local comments, block, names = {}, {}, {}
  for line in (text .. "\n"):gmatch "(.-)\n" do
    local name = line:match "^%S*%s*@function ([%w_.:]+)" or line:match "^function ([%w_.:]+)%("
    if name then names[#names + 1] = name:match "[%w_]+$" end
    if line:find "^%s*//" or line:find "^%-%-" then
      block[#block + 1] = line
    else
      for _, each in ipairs(names) do
        comments[each] = (comments[each] or "") .. table.concat(block, "\n")
      end
      block, names = {}, {}
    end
  end
  return comments
end

TestDocuments = {}

local function is_told(text, key)
  key = "%f[%w_]" .. key
  return text:find(key .. "%??:") or text:find(key .. "=") or text:find("`" .. key .. "[`(]") or
    text:find("@field " .. key .. "%f[^%w_]")
end

--- The options of options are told of where those are.
local function each_told(fn)
  each_table(function(options, _, prefix)
    if prefix ~= "" then return end
    for _, spec in ipairs(options) do
      if spec.key ~= "n" then fn(options.call, spec.key) end
    end
  end)
end

function TestDocuments:test_the_manual_tells_of_each_key()
  local comments = comments_in(sources())
  each_told(function(name, key)
    t.assertTrue(is_told(comments[name] or "", key) ~= nil, ("the manual lacks %s of %s"):format(key, name))
  end)
end

function TestDocuments:test_the_types_tell_of_each_key()
  local types = read "types/asyncio.lua" .. "\n" .. read "types/asyncio/testing.lua" .. "\n" ..
    read "types/asyncio/ssl.lua" .. "\n" .. read "types/asyncio/fs.lua" .. "\n" .. read "types/asyncio/http.lua"
    .. "\n" .. read "types/asyncio/parsers.lua" .. "\n" .. read "types/asyncio/redis.lua"
    .. "\n" .. read "types/asyncio/distributed.lua"
  local comments = comments_in(types)
  each_told(function(name, key)
    local block = comments[name] or ""
    for class in block:gmatch "asyncio%.%w+Options" do
      block = block .. (types:match("%-%-%-@class " .. class .. "\n(.-)\n\n") or "")
    end
    t.assertTrue(is_told(block, key) ~= nil, ("the types lack %s of %s"):format(key, name))
  end)
end

--- Which keys a class of the types has.
local function fields_of(types, class)
  local keys = {}
  for key in types:match("%-%-%-@class asyncio%." .. class .. "\n(.-)\n\n"):gmatch "@field ([%w_]+)" do
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

function TestDocuments:test_the_types_tell_of_no_other()
  local types, known = read "types/asyncio.lua" .. "\n" .. read "types/asyncio/testing.lua", {}
  each_table(function(options)
    local keys = {}
    for _, spec in ipairs(options) do keys[#keys + 1] = spec.key end
    table.sort(keys)
    known[table.concat(keys, " ")] = true
  end)
  local n = 0
  for class in types:gmatch "@class asyncio%.(%w+Options)\n" do
    local keys = table.concat(fields_of(types, class), " ")
    t.assertTrue(known[keys], ("no function takes all of %s: %s"):format(class, keys))
    n = n + 1
  end
  t.assertTrue(n >= 6)
end

t.finish()
