--- Runs programs in a process of their own, and tells how that ended.
local LIMIT = tonumber(os.getenv "RANDOM_LIMIT" or 20) -- seconds for one program; a batch has some more for each
local MORE = 0.1
local SIGNALS = { [4] = "SIGILL", [6] = "SIGABRT", [7] = "SIGBUS", [8] = "SIGFPE", [11] = "SIGSEGV" }

local here = debug.getinfo(1, "S").source:match "^@(.*)/random/" or "spec"
local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"

local batch = {}

local function content(name)
  local file <close> = assert(io.open(name))
  return file:read "a"
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

--- How a process ended that did not do all it should.
local function bad_end(code)
  if code == 124 or code == 137 then return "hangs" end
  if code > 128 then return "dies by " .. (SIGNALS[code - 128] or "signal " .. code - 128) end
  return "ends with status " .. code
end

--- The functions at the top of a sanitizer's report.
local function frames(errors)
  local list = {}
  for name in errors:gmatch "#%d+ 0x%x+ in ([%w_]+) [^\n]*/src/" do
    if #list < 3 then list[#list + 1] = name end
  end
  return table.concat(list, " < ")
end

--- env: variables for the child; limit: seconds, else the usual.
-- Returns {failures = {{seed, mode, text, died}}, died, done, lines, errors, seed: the last that began, sums}.
function batch.run(first, count, env, limit)
  local out, err, state = os.tmpname(), os.tmpname(), os.tmpname()
  local words = { "MALLOC_PERTURB_=165 STATE=" .. state } -- what is freed does not look as it did
  for name, value in pairs(env or {}) do words[#words + 1] = ("%s='%s'"):format(name, value) end
  local command = ("{ env %s timeout -k 2 %d %s '%s/random/child.lua' %d %d; } >%s 2>%s </dev/null"):format(
    table.concat(words, " "), limit or math.ceil(LIMIT + count * MORE), lua, here, first, count, out, err)
  local _, _, code = os.execute(command)
  local result = { lines = lines_of(content(out)), errors = content(err), failures = {}, sums = {}, code = code }
  result.seed = tonumber(content(state):match "%d+") or first
  for _, line in ipairs(result.lines) do
    local seed, mode, text = line:match "^FAIL (%d+) (%a+) (.*)$"
    if seed then table.insert(result.failures, { seed = math.tointeger(seed), mode = mode, text = text }) end
    local of, sum = line:match "^SUM (%d+) (%x+)$"
    if of then result.sums[math.tointeger(of)] = sum end
    result.done = result.done or line == "DONE"
  end
  if not result.done or code ~= 0 then
    local text = bad_end(code)
    if frames(result.errors) ~= "" then text = text .. " in " .. frames(result.errors) end
    result.died = { seed = result.seed, mode = env and env.MODE, text = text, died = true, errors = result.errors }
    table.insert(result.failures, result.died)
  end
  for _, name in ipairs { out, err, state } do os.remove(name) end
  return result
end

return batch
