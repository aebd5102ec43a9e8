--- files.lua: what a file costs beside Lua's own io; prints markdown.
-- Each round measures both, one after the other; ratios are taken within a round. What is read lies in
-- memory: so neither waits for a disk. ROUNDS (5) and FILE_MB (1000) may be set.
local asyncio = require "asyncio"

local ROUNDS = tonumber(os.getenv "ROUNDS") or 5
local BYTES = (tonumber(os.getenv "FILE_MB") or 1000) * 1000000
local BLOCK, SMALL = 65536, 2000

local path, small, written = os.tmpname(), os.tmpname(), os.tmpname()

--- Lines of ten to a hundred bytes.
local function make_file()
  local lines = {}
  math.randomseed(1)
  for i = 1, 1000 do
    lines[i] = ("abcdefghij klmnopqrs "):rep(math.random(0, 4)) .. math.random(10 ^ 9, 10 ^ 10)
  end
  local text = table.concat(lines, "\n") .. "\n"
  local file <close> = assert(io.open(path, "w"))
  for _ = 1, BYTES // #text do file:write(text) end
  local other <close> = assert(io.open(small, "w"))
  other:write(text:sub(1, 4000))
end

local function read_blocks(file)
  while file:read(BLOCK) do end
  file:close()
end

local function write_lines(file)
  for _ = 1, BYTES // 5 // 50 do file:write("a line of fifty bytes, which is about what most have", "\n") end
  file:close()
end

local function read_small(open)
  for _ = 1, SMALL do
    local file = open(small)
    file:read "a"
    file:close()
  end
end

local function read_lines(lines)
  for _ in lines(path) do end
end

-- name, what is done, with which functions of io, and of ours
local POINTS = {
  { "lines", read_lines, io.lines, asyncio.lines },
  { "blocks", function(open) read_blocks(open(path)) end, io.open, asyncio.open },
  { "write", function(open) write_lines(open(written, "w")) end, io.open, asyncio.open },
  { "small", read_small, io.open, asyncio.open },
}

local function seconds(fn, arg)
  collectgarbage()
  local loop = asyncio.get_running_loop()
  local started = loop:time()
  fn(arg)
  return loop:time() - started
end

--- How late a timer of 10 ms is while fn runs: its 99th percentile, ms.
local function lateness(fn, arg)
  local late = {}
  local ticker = asyncio.create_task(function()
    local loop = asyncio.get_running_loop()
    while true do
      local due = loop:time() + 0.01
      asyncio.sleep(0.01)
      late[#late + 1] = (loop:time() - due) * 1000
    end
  end)
  fn(arg)
  ticker:cancel()
  table.sort(late)
  return late[math.ceil(#late * 0.99)] or 0
end

local function spread(values)
  table.sort(values)
  return ("%.2f (%.2f–%.2f)"):format(values[(#values + 1) // 2], values[1], values[#values])
end

asyncio.run(function()
  asyncio.get_running_loop().slow_callback_duration = 3600 -- io holds the loop, which is no news
  make_file()
  print "| |io, s|ours, s|ours beside io|p99 of a ticker, ms|\n|---|---:|---:|---:|---:|"
  for _, point in ipairs(POINTS) do
    local name, fn, io_s, ours_s = table.unpack(point)
    local theirs, ours, ratios, late = {}, {}, {}, {}
    for round = 1, ROUNDS do
      theirs[round], ours[round] = seconds(fn, io_s), seconds(fn, ours_s)
      ratios[round] = ours[round] / theirs[round]
      late[round] = lateness(fn, ours_s)
    end
    local cells = { name, spread(theirs), spread(ours), spread(ratios), spread(late) }
    print("| " .. table.concat(cells, " | ") .. " |")
  end
  for _, name in ipairs { path, small, written } do os.remove(name) end
end)
