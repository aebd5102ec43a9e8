--- The REPL: each input runs as a task, and the loop lives on between them.
-- @module asyncio.console
local asyncio = require "asyncio"
local core = require "asyncio.core"
local host = require "asyncio.runner".host
local show = require "asyncio.show"
local terminal = require "asyncio.terminal"

local console = {}

--- One that runs.
local Console = {}
Console.__index = Console

local function prompt(first)
  local text
  if first then text = rawget(_G, "_PROMPT") else text = rawget(_G, "_PROMPT2") end
  if text == nil then return first and "> " or ">> " end
  return tostring(text)
end

local function complain(text) io.stderr:write(text .. "\n") end

--- Reads a line. nil at the end; false when Ctrl-C gave it up.
local function read_line(self, first)
  self.reading = true
  local ok, line = pcall(self.terminal.read, self.terminal, prompt(first))
  self.reading = false
  if ok then return line end
  if not self.given_up then error(line, 0) end
  self.given_up = false
  self.main:uncancel()
  self.terminal:interrupted()
  return false
end

--- Whether the text might be completed by more lines.
local function incomplete(message) return message:sub(-5) == "<eof>" end

--- Reads an input, which may take several lines, as lua does: an expression if it can be one.
-- Its function; nil and a message when it is none; nil at the end, false when Ctrl-C gave it up.
local function read_input(self)
  local text = read_line(self, true)
  if not text then return text end
  text = text:gsub("^=", "return ")
  local chunk, message = load("return " .. text, "=stdin", "t"), nil
  while not chunk do
    chunk, message = load(text, "=stdin", "t")
    if chunk or not incomplete(message) then break end
    local more = read_line(self, false)
    if more == false then return false end
    if more == nil then break end
    text = text .. "\n" .. more
  end
  self.terminal:remember(text)
  return chunk, message
end

--- A table by its content, unless it says itself what it is.
local function shown(value)
  local meta = debug.getmetatable(value)
  local speaks = type(meta) == "table" and rawget(meta, "__tostring") ~= nil
  return type(value) == "table" and not speaks and show.table(value) or value
end

-- `_` may be all that holds a failed task: while the prompt waits it must not, or nobody would be told.

--- Has `_` hold a failure that nobody looked at weakly. Whether it is one.
local function put_aside(self)
  local value = rawget(_G, "_")
  if not core.isfuture(value) or not select(2, value:_failed()) then return false end
  self.aside, self.address = setmetatable({ value }, { __mode = "v" }), ("%p"):format(value)
  rawset(_G, "_", nil)
  return true
end

local function put_back(self, value)
  self.aside = nil
  if rawget(_G, "_") == nil then rawset(_G, "_", value) end
end

--- Before the prompt: what failed during the input is reported now, however long ago that was.
local function release_result(self)
  if not put_aside(self) or not collectgarbage "isrunning" then return end
  asyncio.sleep(0) -- this turn may hold it yet
  collectgarbage()
  asyncio.sleep(0)
end

--- The first result of an input stays at hand as `_`.
local function keep_result(self, value)
  if value == nil or rawequal(value, rawget(_G, "_")) then return end
  rawset(_G, "_", value)
  if core.isfuture(value) then -- one of a loop that is closed calls nobody
    pcall(value.add_done_callback, value, function()
      if self.reading then put_aside(self) end
    end)
  end
end

--- Prints the results of an input.
local function print_results(n, ...)
  if n == 0 then return end
  local values = { ... }
  for i = 1, n do values[i] = shown(values[i]) end
  local ok, err = pcall(print, table.unpack(values, 1, n))
  if not ok then complain("error calling 'print' (" .. core.words(err) .. ")") end
end

--- An error in words, as lua puts it.
local function described(err)
  local meta = debug.getmetatable(err)
  if type(err) == "string" or type(err) == "number" or type(meta) == "table" and meta.__tostring then
    return core.words(err)
  end
  return ("(error object is a %s value)"):format(type(err))
end

local function print_error(err, traceback)
  complain(described(err) .. (traceback and "\n" .. traceback or ""))
end

--- Waits for a task, which Ctrl-C cancels. Whether it ended well; else that has been told.
local function run_task(self, task)
  self.input = task
  host(task)
  self.runner:_watch(task)
  asyncio.wait { task }
  self.input = nil
  self.runner:_watch(self.main) -- it let nobody forget the input, and what that gave
  local cancelled = task:cancelled()
  local err, failed = nil, false
  if not cancelled then err, failed = task:exception() end
  if cancelled then
    complain(self.terminal.tty and "\ninterrupted" or "interrupted")
  elseif failed then
    print_error(err, task:traceback())
  end
  return not (cancelled or failed)
end

--- Runs an input and shows its results.
local function run_input(self, chunk)
  self.inputs = self.inputs + 1
  local aside = self.aside and self.aside[1]
  if aside then put_back(self, aside) end
  local task = asyncio.create_task { chunk, name = "input " .. self.inputs }
  if not run_task(self, task) then return end
  local results = table.pack(task:result())
  keep_result(self, results[1])
  print_results(results.n, table.unpack(results, 1, results.n))
end

--- Runs what goes before the first prompt, once. Whether it ended well.
local function run_first(self)
  local first = self.first
  self.first = nil
  return not first or run_task(self, asyncio.create_task { first, name = "main" })
end

local function main(self)
  self.main = asyncio.current_task()
  self.terminal = self.terminal or terminal.open()
  if self.terminal.tty and not self.greeted then
    print(("%s, %s. Inputs may await; Ctrl-C cancels one, Ctrl-D leaves."):format(_VERSION, asyncio._VERSION))
    self.greeted = true
  end
  if not run_first(self) then
    self.failed, self.left = true, true
    self.terminal:close()
    return
  end
  while true do
    release_result(self)
    local chunk, message = read_input(self)
    if chunk then
      run_input(self, chunk)
    elseif message then
      complain(message)
    elseif chunk == nil then
      break
    end
  end
  self.left = true
  self.terminal:close()
end

--- Ctrl-C is for the running input: it is cancelled, and broken by the next one.
local function running_input(self)
  return self.input and not self.input:done() and self.input or nil
end

--- At the prompt it gives the line up.
local function give_line_up(self)
  if not self.reading or self.given_up then return end
  self.given_up = true
  self.main:cancel()
end

--- What is reported is written above the prompt. From then on `_` may hold it again.
local function on_report(self, loop, context)
  local failed = context.task or context.future
  if self.aside and core.isfuture(failed) and ("%p"):format(failed) == self.address then
    put_back(self, failed)
  end
  if not self.terminal then return loop:default_exception_handler(context) end
  self.terminal:aside(loop.default_exception_handler, loop, context)
end

--- Runs a REPL until the user leaves it. `asyncio` is a global in it, `_` the first result of the last input
-- that had one; it keeps no failure of a task from being reported. Raises where a loop runs already.
-- @tparam[opt] function first what is run before the first prompt, in a task of its own
-- @treturn boolean false: `first` failed, and has been told; then there is no prompt
function console.run(first)
  local runner <close> = asyncio.Runner {}
  runner.prompts = true
  local loop = runner:get_loop()
  local self = setmetatable({ inputs = 0, runner = runner, first = first }, Console)
  function runner.interruptible() return running_input(self) end
  function runner.on_interrupt() give_line_up(self) end
  _G.asyncio = asyncio
  pairs(asyncio) -- loads what is loaded when it is used: Tab shows it
  loop:set_exception_handler(function(_, context) on_report(self, loop, context) end)
  local task
  repeat -- a second Ctrl-C breaks what doesn't await, and leaves the run: the loop then goes on
    if not task or task:done() then
      task = loop:create_task { main, self, name = "REPL" }
      task:add_done_callback(function() self.reading, self.given_up = false, false end)
    end
    if self.broken and self.terminal then
      loop:call_soon(self.terminal.aside, self.terminal, complain, "interrupted")
    end
    local ok, err = pcall(runner.run, runner, task)
    if not ok and not core.isinstance(err, core.KeyboardInterrupt) then error(err, 0) end
    self.broken = not ok and not self.input
  until self.left
  return not self.failed
end

return console
