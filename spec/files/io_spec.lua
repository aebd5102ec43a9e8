-- File beside Lua's own: random calls of both, on files with the same content, give the same.
local t = require "helper"
local place = require "files.place"
local asyncio = t.asyncio

TestLikeIo = {}

local CONTENTS = {
  "", "\n", "one", "one\n", "one\ntwo\n\nfour", "\n\n\n", "  12 0x1F -7.5e2\n+3 nan 1e 0x 99..9 .5 5.\n",
  ("x"):rep(70000) .. "\n" .. ("y"):rep(300000), ("1 "):rep(9000), ("line\n"):rep(20000), (" "):rep(40000) .. "7",
  ("9"):rep(250) .. " 1", "a\0b\0\nc\r\nd",
}

local FORMATS = { "l", "L", "a", "n", "*l", "*n", 0, 1, 7, 100, 5000, 100000 }

local rnd = math.random

local function random_format() return FORMATS[rnd(#FORMATS)] end

local function random_formats()
  local list = {}
  for i = 1, rnd(0, 3) do list[i] = random_format() end
  return list
end

local function random_text()
  local kind = rnd(5)
  if kind == 1 then return rnd(-1000, 1000) end
  if kind == 2 then return rnd() * 1000 end
  if kind == 3 then return ("z"):rep(rnd(0, 100000)) end
  return ("w\n"):rep(rnd(0, 5))
end

--- What a call gives: its values, or that it failed.
local function outcome(ok, first, ...)
  if not ok then return { "failed" } end
  if io.type(first) or asyncio.type(first) == "File" then return { "itself" } end
  return table.pack(first, ...)
end

-- io is undefined where a read follows a write without a seek in between.
local CALLS = {
  read = function(file, formats) return file:read(table.unpack(formats)) end,
  write = function(file, texts) return file:write(table.unpack(texts)) end,
  seek = function(file, args) return file:seek(args[1], args[2]) end,
  lines = function(file, formats)
    local seen = {}
    for a, b, c in file:lines(table.unpack(formats)) do
      seen[#seen + 1] = ("%s %s %s"):format(a, b, c)
      if #seen == 5 then break end
    end
    return table.concat(seen, "|")
  end,
}

local function random_call(last)
  local kind = rnd(4)
  if kind == 1 or last == "seek" and kind == 2 then return "read", random_formats() end
  if kind == 2 then return "seek", { ({ "set", "cur", "end" })[rnd(3)], rnd(-20, 50) } end
  if kind == 3 then return "lines", { rnd(2) == 1 and "l" or rnd(1, 100) } end
  local texts = { rnd(2) } -- io takes nothing for a file that is only read
  for i = 2, rnd(1, 4) do texts[i] = random_text() end
  return "write", texts
end

local function same(mine, theirs, what)
  if mine.n ~= theirs.n then t.fail(("%s: %s values, io has %s"):format(what, mine.n, theirs.n)) end
  for i = 1, math.max(mine.n or 1, 1) do
    local a, b = mine[i], theirs[i]
    if a ~= b and not (a ~= a and b ~= b) or math.type(a) ~= math.type(b) then
      t.fail(("%s: %s: %.60s, io has %.60s"):format(what, i, tostring(a), tostring(b)))
    end
  end
end

--- One round: the same calls of both.
local function compare(seed, mode, content, path, other)
  math.randomseed(seed)
  place.write(path, content)
  place.write(other, content)
  local mine <close> = asyncio.open(path, mode)
  local theirs <close> = assert(io.open(other, mode))
  local last, trace = nil, { ("seed %d, mode %s"):format(seed, mode) }
  for _ = 1, 12 do
    local name, args = random_call(last)
    local between = (name == "write" and last ~= "write" or last == "write" and name ~= "write") and name ~= "seek"
    if between then
      theirs:seek("cur", 0)
      local position = table.concat(trace, ", ") .. ": position"
      same(outcome(pcall(mine.seek, mine)), outcome(true, theirs:seek()), position)
    end
    trace[#trace + 1] = name .. "(" .. #args .. ")"
    local a = outcome(pcall(CALLS[name], mine, args))
    local b = outcome(pcall(CALLS[name], theirs, args))
    if b[1] == nil and type(b[2]) == "string" then b = { "failed" } end -- io says so
    if b[1] == "failed" and name == "lines" then break end
    same(a, b, table.concat(trace, ", "))
    last = name
  end
  mine:close()
  theirs:close()
  if place.read(path) ~= place.read(other) then t.fail(table.concat(trace, ", ") .. ": other content") end
end

--- What lies in memory is read without a thread, but not everywhere: a tmpfs always needs one.
local function names()
  local path = os.tmpname()
  local elsewhere = path:gsub("^.*/", "/dev/shm/")
  local file = io.open(elsewhere, "w")
  if file then file:close() end
  return path, file and elsewhere or path
end

local function rounds(mode)
  t.real(function()
    local one, two = names()
    local other = os.tmpname()
    for seed = 1, t.count(400) do
      compare(seed, mode, CONTENTS[seed % #CONTENTS + 1], seed % 2 == 0 and one or two, other)
    end
    for _, path in ipairs { one, two, other } do os.remove(path) end
  end)
end

function TestLikeIo:test_when_it_reads() rounds "r" end
function TestLikeIo:test_when_it_reads_and_writes() rounds "r+" end
function TestLikeIo:test_when_it_begins_anew() rounds "w+" end
function TestLikeIo:test_when_it_writes() rounds "w" end
function TestLikeIo:test_when_it_appends() rounds "a" end
function TestLikeIo:test_when_it_reads_and_appends() rounds "a+" end

t.finish()
