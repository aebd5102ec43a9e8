--- Everything is used again after its end: each method of each object that a program has left, when the loop is
-- closed, when it has been collected, in another loop, and as what they belong to is collected bit by bit.
local asyncio = require "asyncio"

local function nothing() end

local ARGUMENTS = {
  read = { 5 }, readexactly = { 3 }, readuntil = { "\n" }, write = { "late" }, send = { "late" },
  writelines = { { "a", "b" } }, get_extra_info = { "peername" }, set_write_buffer_limits = { { high = 10 } },
  set_result = { 1 }, set_exception = { "late" }, cancel = { "late" }, add_done_callback = { nothing },
  remove_done_callback = { nothing }, call_soon = { nothing }, call_later = { 0, nothing }, call_at = { 0, nothing },
  create_task = { nothing }, run_until_complete = { nothing }, run = { nothing }, run_in_executor = { nil, nothing },
  submit = { nothing }, map = { nothing, { 1 } }, put = { 1 }, put_nowait = { 1 }, wait_for = { rawlen },
  set_name = { "late" }, reschedule = { 0 }, set = { 1 }, add_reader = { 0, nothing }, add_writer = { 0, nothing },
  remove_reader = { 0 }, remove_writer = { 0 }, add_signal_handler = { "SIGWINCH", nothing },
  remove_signal_handler = { "SIGWINCH" }, getaddrinfo = { "127.0.0.1", 80 },
  getnameinfo = { { host = "127.0.0.1", port = 80 } }, set_exception_handler = { nothing },
  call_exception_handler = { { message = "late" } }, call_soon_threadsafe = { nothing }, set_debug = { true },
}
local LATE = { "await", "shield", "wait_for", "gather" } -- what is done with things that can be awaited

local After = {}
After.__index = After

--- The names of the public methods, in one order for all.
local methods_of = setmetatable({}, { __mode = "k" })
local function methods(object)
  local meta = debug.getmetatable(object)
  local index = type(meta) == "table" and rawget(meta, "__index")
  if type(index) ~= "table" then return {} end
  if not methods_of[meta] then
    local names = {}
    for name, value in pairs(index) do
      if type(name) == "string" and type(value) == "function" and not name:find "^_" then names[#names + 1] = name end
    end
    table.sort(names)
    methods_of[meta] = names
  end
  return methods_of[meta]
end

--- What would wait for ever where nothing runs, or for what nobody sends; and the like.
local function waits_for_ever(kind, object, name)
  local runs = name:find "^run" or name == "getaddrinfo" or name == "getnameinfo"
  return kind == "loop" and runs and not object:is_closed()
    or kind == "loop" and name == "default_exception_handler" -- it prints
    or kind == "executor" and name == "shutdown"
    or kind == "socket" or kind == "coro" and name == "await"
    or name == "detach" -- whose descriptor nobody would close
end

--- Arguments that make sense, mostly.
function After:arguments(name)
  local random = self.random
  if random:chance(80) then return ARGUMENTS[name] or {} end
  local list = {}
  for i = 1, random:int(0, 2) do list[i] = self.env:value(random:int(1, 1000)) end
  return list
end

function After:call(where, thing, name, fn, ...)
  self.env:trace(("%s: %s:%s"):format(where, self.env:describe(thing.object), name), ...)
  local ok, err = pcall(fn, ...)
  if not ok then
    self.env:judge(("%s: %s:%s"):format(where, thing.kind, name), err)
    self.env:trace("raises", err)
  end
end

--- do_it(fn, …) calls it, here or in a task.
function After:use(where, thing, do_it)
  local object, kind = thing.object, thing.kind
  if kind == "channel" then object:close() end -- a finaliser may have made it just now, and a get would wait
  if self.env.skip.late_streams and (kind == "reader" or kind == "writer" or kind == "iterator") then return end
  for _, name in ipairs(methods(object)) do
    if not waits_for_ever(kind, object, name) then
      do_it(self.call, self, where, thing, name, object[name], object, table.unpack(self:arguments(name)))
    end
  end
  do_it(self.call, self, where, thing, "tostring", tostring, object)
  local meta = debug.getmetatable(object)
  if type(meta) == "table" and type(meta.__close) == "function" and kind ~= "executor" then
    do_it(self.call, self, where, thing, "__close", meta.__close, object)
  end
  if kind == "iterator" then do_it(self.call, self, where, thing, "call", object) end
  if asyncio.isfuture(object) then
    local late = self.random:one_of(LATE)
    do_it(self.call, self, where, thing, late, asyncio[late], object, late == "wait_for" and 0 or nil)
  end
end

local function directly(fn, ...) return fn(...) end

function After:use_all(where)
  for _, thing in ipairs(self.things) do self:use(where, thing, directly) end
end

--- The same in tasks of another run.
function After:use_all_in_another_run(where)
  local runner <close> = asyncio.Runner { cancel_timeout = 0.01, flush_timeout = 0.01, executor_timeout = 1 }
  runner:get_loop():set_exception_handler(function(_, context) self.env:judge(where, context.exception) end)
  local ok, err = pcall(runner.run, runner, function()
    for _, thing in ipairs(self.things) do
      self:use(where, thing, asyncio.create_task)
      asyncio.sleep(0)
    end
    asyncio.sleep(0.001)
  end)
  if not ok then self.env:judge(where, err) end -- a finaliser may stop the loop
end

-- Memory that is used again

--- Strings of all the sizes that objects have, where these lay; what is freed late must not write into them.
local function overlay()
  local strings = {}
  for size = 40, 1500, 20 do
    for i = 1, 3 do strings[#strings + 1] = ("x"):rep(size) .. i end
  end
  return strings
end

function After:check()
  for _, s in ipairs(self.strings or {}) do
    if s:find "[^x%d]" then self.env:fail "something was written into a string that lies where an object lay" end
  end
end

local function collect()
  collectgarbage()
  collectgarbage()
end

--- Forgets what `which` says, and sees what becomes of the memory.
function After:forget(which)
  local left = {}
  for _, thing in ipairs(self.things) do
    if not which(thing) then left[#left + 1] = thing end
  end
  if #left == #self.things then return end
  self.things, self.env.kept, self.env.objects = left, left, {}
  for _, thing in ipairs(left) do
    local list = self.env.objects[thing.kind] or {}
    self.env.objects[thing.kind] = list
    list[#list + 1] = thing.object
  end
  collect()
  self:check()
  self.strings = overlay()
end

--- In three parts, each some kinds of objects: what they belong to goes first, or last, or between.
function After:forget_all()
  local part_of = {}
  for _, thing in ipairs(self.things) do part_of[thing.kind] = part_of[thing.kind] or self.random:int(1, 3) end
  for part = 1, 3 do
    self.env:trace("collects part " .. part)
    self:forget(function(thing) return part_of[thing.kind] == part end)
    if part == 1 then self:use_all "after some were collected" end
  end
  collect()
  self:check()
end

--- thorough: with collections in between, which take most of the time.
return function(env, random, thorough)
  local self = setmetatable({ env = env, random = random, things = table.move(env.kept, 1, #env.kept, 1, {}) }, After)
  env.kept = self.things
  self:use_all "after the end"
  if not thorough then return self:use_all_in_another_run "in another loop" end
  env.loop, env.runner = nil, nil
  self:forget(function(thing) return thing.kind == "loop" or thing.kind == "runner" end)
  self:use_all "after the loop was collected"
  self:use_all_in_another_run "in another loop"
  self:forget_all()
end
