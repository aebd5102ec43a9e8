--- What a running program has: its objects by kind, its trace, and its judgement of errors.
local asyncio = require "asyncio"
local ops = require "random.ops"

local STEPS = 3000 -- statements that a program does at most: callbacks may start each other for ever
local DELAYS = {
  virtual = { 0, 0, 0.001, 0.5, 1, 1, 1.5, 2, 10, 100 },
  real = { 0, 0, 0, 0.0003, 0.001, 0.001, 0.002 },
}
-- An error that says so was not meant for whoever gets it.
local INTERNAL = {
  "attempt to index", "attempt to call", "attempt to perform", "attempt to concatenate", "attempt to get length",
  "stack overflow", "not enough memory", "corrupt",
  "asyncio/[%w_]+%.lua:%d+: attempt to", "asyncio/[%w_]+%.lua:%d+: assertion",
}
-- What was finalised has no metatable any more, by design.
local FINALISED = "attempt to index a userdata value %(local '%w+'%)"
local WORDS = "asyncio/[%w_]+%.lua:%d+: bad argument" -- the argument of an inner function, which nobody gave

local Env = {}
Env.__index = Env

local function new(program, trace, skip)
  return setmetatable({
    program = program, trace_to = trace, skip = skip, objects = {}, kept = {}, counts = {}, channels = {},
    steps = 0, told = {},
    names = setmetatable({}, { __mode = "k" }), own = setmetatable({}, { __mode = "k" }),
  }, Env)
end

-- Objects

--- Notes an object under its kind, and gives it a name.
function Env:add(kind, object)
  if object == nil then return nil end
  local list = self.objects[kind] or {}
  self.objects[kind] = list
  list[#list + 1] = object
  self.kept[#self.kept + 1] = { kind = kind, object = object }
  self.counts[kind] = (self.counts[kind] or 0) + 1
  if kind == "task" then -- the run's end waits for it, unless a finaliser makes it when that has looked already
    self.own[object] = object:get_loop() == self.loop and not self.stopping
  end
  if type(object) ~= "string" then self.names[object] = kind .. " " .. self.counts[kind] end
  return object
end

function Env:pick(kind, n)
  local list = self.objects[kind]
  if list and #list > 0 then return list[(n - 1) % #list + 1] end
end

--- Something to wait for. Where rings are left out, tasks wait for later ones only.
function Env:awaitable(n)
  local kinds = { "task", "task", "future", "coroutine" }
  local object = self:pick(kinds[n % #kinds + 1], n // 4 + 1) or self:pick("task", n)
  if self.skip.rings and self:number(object) <= self:number(asyncio.current_task()) then object = nil end
  return object or self:add("task", asyncio.create_task(function() end))
end

function Env:number(object) return tonumber((self.names[object] or ""):match "^task (%d+)") or math.huge end

function Env:delay(n)
  local list = DELAYS[self.program.mode]
  return list[n % #list + 1]
end

function Env:value(n)
  local kind, m = n % 14, n // 14 + 1
  if kind == 0 then return nil end
  if kind == 7 then return {} end
  if kind == 8 then return self:pick("task", m) end
  if kind == 9 then return self:pick("queue", m) end
  if kind == 10 then return asyncio.Error("value " .. m) end
  if kind == 11 then return rawlen end
  if kind == 12 then return self:pick("future", m) end
  return (({ false, true, 0, -1, 1.5, "" })[kind] or ("text"):rep(m))
end

--- Nobody but the program's own tasks has it from now on.
function Env:drop(kind, n)
  local list = self.objects[kind]
  if not list or #list == 0 then return end
  local object = table.remove(list, (n - 1) % #list + 1)
  for i = #self.kept, 1, -1 do
    local kept = self.kept[i] -- nil: a call has grown the stack, and so run a finaliser, which has dropped some too
    if kept and rawequal(kept.object, object) and self.kept[i] == kept then table.remove(self.kept, i) end
  end
  return self.names[object]
end

-- The trace, and the judgement

local function plain(text) return (text:gsub("0x%x+", "@"):gsub("Task%-%d+", "Task")) end

function Env:describe(value)
  local kind = type(value)
  if kind == "string" then return ("%q"):format(plain(value:sub(1, 200))) end
  if kind == "nil" or kind == "number" or kind == "boolean" then return tostring(value) end
  if self.names[value] then return self.names[value] end
  if kind == "table" and type(value.message) == "string" then
    return ("%s: %s"):format(value.name, plain(value.message))
  end
  return kind
end

function Env:trace(text, ...)
  if not self.trace_to then return end
  local values = table.pack(...)
  for i = 1, values.n do values[i] = self:describe(values[i]) end
  local task = asyncio.current_task()
  self.trace_to(("%s: %s %s"):format(task and self.names[task] or task and "a task" or "-", text,
    table.concat(values, " ", 1, values.n)))
end

function Env:fail(text)
  text = plain(text)
  if not self.told[text] then
    self.told[text] = true
    self.told[#self.told + 1] = text
    if self.trace_to then self.trace_to("FAIL " .. text) end
  end
end

--- Whether an error is one that people may see.
function Env:judge(where, err)
  local text = type(err) == "table" and rawget(err, "message") or err
  if type(text) ~= "string" or text:find(FINALISED) then return end
  for _, pattern in ipairs(INTERNAL) do
    if text:find(pattern) then return self:fail(("an internal error: %s (%s)"):format(text, where)) end
  end
  if not self.skip.words and text:find(WORDS) then
    self:fail(("an inner function's error: %s (%s)"):format(text, where))
  end
end

--- For a `<close>` variable: judges the error that leaves a block.
function Env:witness(where)
  return setmetatable({}, {
    __close = function(_, err)
      if err == nil then return end
      self:judge(where, err)
      self:trace("leaves by an error:", err)
    end,
  })
end

-- Doing it

function Env:note(s, ok, ...)
  if not ok then self:judge(s.op, (...)) end
  self:trace(("%d %s"):format(s.id, ok and "returns" or "raises"), ...)
end

function Env:step(s)
  local op, object = ops.by_name[s.op], nil
  if op.on then
    object = self:pick(op.on, s.a)
    if object == nil then return end
  end
  self.steps = self.steps + 1
  if self.steps > STEPS then
    self.stopping = true
    return
  end
  self:trace(("%d %s"):format(s.id, s.op), object)
  if s.catch == "none" then return self:note(s, true, op.run(self, s, object)) end
  return self:note(s, (s.catch == "plain" and pcall or asyncio.pcall)(op.run, self, s, object))
end

function Env:block(list)
  for _, s in ipairs(list) do
    if self.stopping then return end
    self:step(s)
  end
end

--- What callbacks and finalisers do: also when the program is at its end.
function Env:quick(list)
  for _, s in ipairs(list) do
    if self.steps > STEPS then return end
    self:step(s)
  end
end

--- A function that does a block; it returns some values, so many as n says, and its arguments.
function Env:body(list, n)
  return function(...)
    local _ <close> = self:witness "a task"
    self:block(list)
    if n % 3 == 0 then return end
    if n % 3 == 1 then return n end
    return nil, n, ...
  end
end

function Env:callback(list)
  return function()
    local _ <close> = self:witness "a callback"
    self:quick(list)
  end
end

--- Waits for what a call waits for, but not for long where time is real.
function Env:briefly(n, fn, ...)
  if self.program.mode == "virtual" or n % 5 == 0 then return fn(...) end
  return asyncio.move_on_after(0.002, fn, ...)
end

return new
