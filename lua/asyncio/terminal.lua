--- Where the REPL reads from: the terminal, with line editing if there is a library for it, or plain
-- standard input. Both read without holding up the loop.
-- @module asyncio.terminal
local completion = require "asyncio.completion"
local core = require "asyncio.core"
local streams = require "asyncio.streams"

local HISTORY_ENTRIES = 1000
local BUSY_PAUSE = 0.05 -- seconds between two looks whether another task still reads
local LINE_LIMIT = 1 << 24 -- bytes; pasted lines can be long

--- Plain input
local Plain = {}
Plain.__index = Plain

--- The next line of standard input, which other tasks may be reading: its reader is everybody's.
local function read_line()
  while true do
    local ok, line = core.pcall(function() return streams.stdin({ limit = LINE_LIMIT }):readline() end)
    if ok then return line end
    if not core.isinstance(line, core.BusyError) then error(line, 0) end
    core.sleep(BUSY_PAUSE)
  end
end

local function open_plain() return setmetatable({ tty = core.isatty(0) }, Plain) end

--- Reads a line; nil at the end.
function Plain:read(prompt)
  if self.tty then
    io.stdout:write(prompt)
    io.stdout:flush()
  end
  self.prompt = prompt
  local _ <close> = setmetatable({}, { __close = function() self.prompt = nil end })
  local line = read_line()
  if not line then
    if self.tty then print() end
    return nil
  end
  return (line:gsub("\r?\n$", ""))
end

--- What the user sees when the line is given up.
function Plain:interrupted()
  if self.tty then print() end
end

--- Calls fn, which writes lines.
function Plain:aside(fn, ...)
  if self.tty and self.prompt then print() end
  fn(...)
  if self.tty and self.prompt then
    io.stdout:write(self.prompt)
    io.stdout:flush()
  end
end

function Plain:remember() end

function Plain:close() end

--- Edited lines
local Edited = {}
Edited.__index = Edited

local function history_file()
  local file, home = os.getenv "ASYNCIO_HISTORY", os.getenv "HOME"
  if file == "" then return nil end
  return file or home and home .. "/.asyncio_history"
end

-- In the file an input of several lines is one entry: each of its lines but the last ends with "\r", as in
-- Python's history files.

--- The entries of the file, the oldest first.
local function read_history(name)
  local entries, open_entry = {}, nil
  local file <close> = io.open(name)
  if not file then return entries end
  for line in file:lines() do
    local continued = line:sub(-1) == "\r"
    local text = continued and line:sub(1, -2) or line
    open_entry = open_entry and open_entry .. "\n" .. text or text
    if not continued then
      entries[#entries + 1], open_entry = open_entry, nil
    end
  end
  return entries
end

local function as_entry(text) return (text:gsub("\r+$", ""):gsub("\r*\n", "\r\n")) .. "\n" end

--- Fills the editor's history from the file, which is cut when it has become too long.
local function recall(editor, name)
  local entries = read_history(name)
  local first = math.max(1, #entries - HISTORY_ENTRIES + 1)
  for i = first, #entries do editor:remember(entries[i]) end
  if first == 1 then return end
  local file <close> = io.open(name, "w")
  if not file then return end
  for i = first, #entries do file:write(as_entry(entries[i])) end
end

--- Puts prompt and line back where they were, below what has been written.
local function show(self)
  self.showing = false
  if not self.at_line_start then self.write(io.stdout, "\n") end
  self.at_line_start = true
  self.editor:show()
end

--- Takes prompt and line away until the loop turns.
local function hide(self)
  if not self.waits or self.showing then return end
  self.showing = true
  self.editor:hide()
  core.get_running_loop():call_soon(show, self)
end

--- print and io.write take the prompt away while they write.
local function replace_output(self)
  local former_print, former_write = print, io.write
  self.write, self.at_line_start = io.stdout.write, true
  local function new_print(...)
    hide(self)
    self.at_line_start = true
    return former_print(...)
  end
  local function new_write(...)
    if io.output() == io.stdout then
      hide(self)
      local last = tostring((select(select("#", ...) + 1, "", ...)))
      if last ~= "" then self.at_line_start = last:sub(-1) == "\n" end
    end
    return former_write(...)
  end
  _G.print = new_print
  rawset(io, "write", new_write)
  return function()
    if print == new_print then _G.print = former_print end
    if io.write == new_write then rawset(io, "write", former_write) end
  end
end

-- The module may be missing where others have packed this: then there is no line editing, which is no error.
local function open_edited()
  local found, editing = pcall(require, "asyncio.editor")
  if not found then return nil, editing end
  local editor, why = editing.open(function(line, from, to)
    return completion.words(line:sub(from, to), _G)
  end)
  if not editor then return nil, why end
  local self = setmetatable({ editor = editor, history = history_file(), tty = true }, Edited)
  self.append = editing.append_private
  if self.history then recall(editor, self.history) end
  self.restore_output = replace_output(self)
  local loop = core.get_running_loop()
  loop:add_signal_handler("SIGCONT", function() editor:resumed() end)
  loop:add_signal_handler("SIGWINCH", function() editor:resized() end)
  return self
end

function Edited:read(prompt)
  local loop, editor = core.get_running_loop(), self.editor
  local typed = loop:create_future()
  if not self.at_line_start then io.stdout:write "\n" end
  self.at_line_start = true
  local _ <close> = setmetatable({}, { __close = function()
    self.waits = false
    loop:remove_reader(editor)
    editor:stop "^C\n"
  end })
  self.waits = true
  editor:start(prompt)
  loop:add_reader(editor, function()
    if self.showing then show(self) end
    local ok, finished, line = pcall(editor.feed, editor)
    if typed:done() or ok and not finished then return end
    self.waits = false
    if ok then
      typed:set_result(line)
    else -- no memory for the line: nothing more comes of the terminal, since it is no longer edited
      typed:set_exception(finished)
    end
  end)
  return core.await(typed)
end

function Edited:interrupted() end

function Edited:aside(fn, ...)
  hide(self)
  fn(...)
end

function Edited:remember(text)
  if text ~= self.last and text:find "%S" then
    self.editor:remember(text)
    if self.history then self.append(self.history, as_entry(text)) end
  end
  self.last = text
end

function Edited:close()
  self.restore_output()
  local loop = core.get_running_loop()
  loop:remove_signal_handler "SIGCONT"
  loop:remove_signal_handler "SIGWINCH"
  self.editor:close()
end

local terminal = {}

--- Opens it; in a task.
-- @return an object with `read(prompt)`, `interrupted()`, `aside(fn, ...)`, `remember(text)`, `close()`
function terminal.open() return open_edited() or open_plain() end

return terminal
