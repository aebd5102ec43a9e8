--- Runs batches of programs; what fails is confirmed, cut down and told with how to run it again.
local batch = require "random.batch"
local shrink = require "random.shrink"

local BATCH = 100  -- programs in one process
local AGAIN = 10   -- of each batch are run twice more, to see whether they do the same
local SHOWN = 12   -- lines of a trace's end
local PATIENCE = 4 -- seconds after which a program hangs that is being cut down

local skip = {}
for word in (os.getenv "RANDOM_SKIP" or ""):gmatch "[^,]+" do skip[word] = true end

local find = { seen = {} }

--- What failures of one kind have in common: not where it came to light, nor numbers.
local function kind_of(text) return (text:gsub(" %b()$", ""):gsub("%d+", "N"):gsub('"[^"]*"', "S")) end

local function how_to_replay(failure)
  local words = { "SEED=" .. failure.seed }
  if failure.count and failure.count > 1 then words[#words + 1] = "COUNT=" .. failure.count end
  for _, name in ipairs { "MODE", "RANDOM_SKIP" } do
    if os.getenv(name) then words[#words + 1] = name .. "=" .. os.getenv(name) end
  end
  if failure.only then words[#words + 1] = "ONLY=" .. table.concat(failure.only, ",") end
  return table.concat(words, " ") .. " make random"
end

local function last_trace_line(result)
  for i = #result.lines, 1, -1 do
    if result.lines[i]:find "^  %S" then return result.lines[i]:match "^%s*(.-)%s*$" end
  end
end

--- `kind:method` of what was used after its end.
local function deed(line)
  local kind, method = line:match ": (%a+) %d+:([%a_]+)"
  return kind and kind .. ":" .. method or "a program's work"
end

--- For a death its kind is the last use after the end; where else it comes is chance. A sanitizer says more.
local function died_doing(result)
  local text = result.died.text
  if text:find " in " then return text end
  local line = last_trace_line(result)
  return line and ("%s at %s (%s)"):format(text, deed(line), line:gsub("[()]", "")) or text
end

--- The failure again, alone or with those before it in its process; nil when it doesn't come.
local function again(failure, first)
  local alone = batch.run(failure.seed, 1, { TRACE = "1" })
  if #alone.failures > 0 then return alone, failure.seed, 1 end
  if failure.seed == first or failure.hangs then return end
  local count = failure.seed - first + 1
  local together = batch.run(first, count, { TRACE = "1" })
  if #together.failures > 0 then return together, first, count end
end

--- Whether it is the same kind of failure: any death is like another, since where it shows is chance.
local function alike(failure, result)
  for _, other in ipairs(result.failures) do
    if failure.died and other.died and (other.text == "hangs") == (failure.hangs or false) then return true end
    if not failure.died and kind_of(other.text) == kind_of(failure.text) then return true end
  end
  return false
end

local function cut_down(failure, result)
  local statements = tonumber(table.concat(result.lines, "\n"):match "# program %d+: (%d+) statements")
  failure.only = shrink(statements, function(only)
    return alike(failure, batch.run(failure.seed, 1, { ONLY = table.concat(only, ",") }, PATIENCE))
  end)
  print(("  cut down to %d of %d statements"):format(#failure.only, statements))
  return batch.run(failure.seed, 1, { TRACE = "1", ONLY = table.concat(failure.only, ",") })
end

--- A report of a sanitizer, without what is known by heart; anything else as it is.
local function print_errors(errors)
  for line in errors:gsub("\nShadow bytes.*", "\n"):sub(1, 6000):gmatch "[^\n]+" do
    if not line:find "%(/usr/bin/" then print("  ! " .. line) end
  end
end

--- The program, and what it did last: before it died, or before the first thing that was wrong.
local function print_end(lines)
  local last = #lines
  for i, line in ipairs(lines) do
    if line:find "^# " and #lines < 200 then print("  | " .. line) end
    if last == #lines and line:find "^  FAIL" then last = i end
  end
  for i = math.max(1, last - SHOWN), last do
    if not lines[i]:find "^# " then print("  | " .. lines[i]:sub(1, 200)) end
  end
end

local function tell_at_length(failure, result, count)
  print(("FAIL program %d: %s"):format(failure.seed, failure.text))
  if count == 1 and alike(failure, result) and not skip.shrink then result = cut_down(failure, result) end
  print_end(result.lines)
  print_errors(result.errors)
  if not result.died and failure.errors then print_errors(failure.errors) end
  print("  again: " .. how_to_replay(failure))
end

--- Tells a failure that came in the batch from `first` on: at length when it is the first of its kind. True: it is
-- none, the batch was slow.
function find.tell(failure, first)
  local result, from, count
  if failure.died then
    failure.hangs = failure.text == "hangs"
    result, from, count = again(failure, first)
    if failure.hangs and not result and failure.seed > first then return true end
    if result and result.died then failure.text = died_doing(result) end
    if not result then failure.text = failure.text .. ", and not when run again" end
    failure.seed, failure.count = from or failure.seed, count
  end
  local kind = kind_of(failure.text)
  print("@" .. kind)
  if find.seen[kind] then return end
  find.seen[kind] = true
  result = result or batch.run(failure.seed, 1, { TRACE = "1" })
  tell_at_length(failure, result, count or 1)
end

--- Runs a batch to its end, past each program that ends the process. How many failed.
function find.batch(first, count)
  local from, last, failed = first, first + count - 1, {}
  while from <= last do
    local result = batch.run(from, last - from + 1)
    local was_slow = false
    for _, failure in ipairs(result.failures) do
      was_slow = find.tell(failure, from) or was_slow
      failed[failure.seed] = not was_slow or nil
    end
    if not result.died or result.done then break end
    from = result.seed + (was_slow and 0 or 1)
  end
  local n = 0
  for _ in pairs(failed) do n = n + 1 end
  return n
end

local function first_difference(seed)
  local one, other = batch.run(seed, 1, { TRACE = "1" }), batch.run(seed, 1, { TRACE = "1" })
  for i = 1, math.max(#one.lines, #other.lines) do
    if one.lines[i] ~= other.lines[i] then
      return ("line %d: %s / %s"):format(i, one.lines[i] or "nothing", other.lines[i] or "nothing")
    end
  end
  return "it does the same when run alone"
end

--- Programs whose trace is another one in another process: how many.
function find.differences(first, count)
  local one, other = batch.run(first, count, { TRACE = "sum" }), batch.run(first, count, { TRACE = "sum" })
  local n = 0
  for seed, sum in pairs(one.sums) do
    if other.sums[seed] and other.sums[seed] ~= sum then
      n = n + 1
      print("@does something else in another process")
      if not find.seen.difference then
        find.seen.difference = true
        print(("FAIL program %d does something else in another process: %s"):format(seed, first_difference(seed)))
      end
    end
  end
  return n
end

--- Each jobs-th batch of so many programs.
function find.batches(first, programs, job, jobs)
  for from = (job - 1) * BATCH, programs - 1, jobs * BATCH do
    local count = math.min(BATCH, programs - from)
    local failed = find.batch(first + from, count)
    failed = math.min(count, failed + find.differences(first + from, math.min(AGAIN, count)))
    print(("=%d %d"):format(count - failed, failed))
    io.stdout:flush()
  end
end

--- Runs programs with all they do: how many passed and failed.
function find.replay(seed, count)
  local result = batch.run(seed, count, { TRACE = "1", ONLY = os.getenv "ONLY" })
  for _, line in ipairs(result.lines) do print(line) end
  io.stdout:write(result.errors)
  if result.died then print(("program %d %s"):format(result.died.seed, result.died.text)) end
  local failed = #result.failures > 0 and 1 or 0
  return count - failed, failed
end

return find
