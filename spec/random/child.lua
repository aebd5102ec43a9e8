--- child.lua FIRST [COUNT] - runs so many programs in this process, one after the other; prints what is wrong, and
-- at last how much it did. For whoever finds it dead: the file STATE has the seed that is running.
-- MODE, RANDOM_SKIP, ONLY (numbers of statements): what programs are made of. TRACE=1: each thing they do;
-- TRACE=sum: a number for all that each one does that must do the same again.
local new_program = require "random.program"
local run_one = require "random.one"
local leaks = require "random.leaks"

local first, count = math.tointeger(arg[1]), math.tointeger(arg[2] or 1)
local state = os.getenv "STATE" and assert(io.open(os.getenv "STATE", "w"))
local tracing = os.getenv "TRACE"

local function set_of(text)
  local set = {}
  for word in (text or ""):gmatch "[^,]+" do set[math.tointeger(word) or word] = true end
  return set
end

local function line(text)
  io.stdout:write((text:gsub("\n", "\n    ")), "\n")
  io.stdout:flush()
end

local opts = {
  mode = os.getenv "MODE", skip = set_of(os.getenv "RANDOM_SKIP"), only = os.getenv "ONLY" and set_of(os.getenv "ONLY"),
}

local function note_seed(seed)
  if not state then return end
  state:seek "set"
  state:write(("%-20d"):format(seed))
  state:flush()
end

local function checksum(lines)
  local sum = 0
  for _, text in ipairs(lines) do
    for i = 1, #text do sum = (sum * 31 + text:byte(i)) & 0xffffffffffff end
  end
  return sum
end

local function fail(seed, mode, text) line(("FAIL %d %s %s"):format(seed, mode, text)) end

--- One program: it is said what is wrong with it, and whether it left something.
local function run(seed)
  local program = new_program(seed, opts)
  local lines, trace = {}, nil
  if tracing == "1" then
    program:print(line)
    trace = function(text) line("  " .. text) end
  elseif tracing and program.repeats then
    trace = function(text) lines[#lines + 1] = text end
  end
  for _, text in ipairs(run_one(program, trace, opts.skip)) do fail(seed, program.mode, text) end
  if tracing == "sum" and program.repeats then line(("SUM %d %x"):format(seed, checksum(lines))) end
  -- Those with the virtual clock have little to leave.
  if program.mode == "real" or seed % 20 == 0 or count == 1 then
    for _, text in ipairs(leaks.left()) do fail(seed, program.mode, text) end
  end
end

warn "@off"
leaks.warm_up()
for seed = first, first + count - 1 do
  note_seed(seed)
  run(seed)
  leaks.sample(seed - first + 1, count)
end
local growth = leaks.growth()
if growth then fail(first, "batch", growth) end
line "DONE"
