--- main.lua - random programs over the public API, each from a seed; `make random` calls it.
-- RANDOM_PROGRAMS (20000): how many; RANDOM_FROM: the first seed, else CHECK_SEED or the clock says;
-- RANDOM_JOBS (2): at a time.
-- SEED=n: that one program with all it does; COUNT=m: with the m - 1 that follow, in one process.
-- ONLY=numbers: with these of its statements.
-- MODE=virtual|real: programs of one kind only. RANDOM_SKIP=kinds, to leave out: files beside this one that have
-- statements, or `after` (use after the end), `late_streams` (such use of streams), `abrupt` (ends of the loop beneath
-- its tasks), `finalisers`, `words` (errors of inner functions), `rings` (tasks that wait for each other), `shrink`.
-- SPEC_LUA: the interpreter's command line. RANDOM_LIMIT (20): seconds for one program.
-- The last line is "N passed, N failed, N skipped"; the exit status is 1 when one failed.
local here = arg[0]:match "^(.*)/random/[^/]*$" or "spec"
package.path = ("%s/?.lua;%s"):format(here, package.path)
local find = require "random.find"

local first = tonumber(os.getenv "RANDOM_FROM") or tonumber(os.getenv "CHECK_SEED" or os.time()) % 1000000 * 1000
local programs = tonumber(os.getenv "RANDOM_PROGRAMS" or 20000)
local jobs = tonumber(os.getenv "RANDOM_JOBS" or 2)

--- Starts another one of this, for each jobs-th batch.
local function start(job)
  local lua = os.getenv "LUA" or "lua5.4"
  return assert(io.popen(("RANDOM_FROM=%d '%s' '%s' %d %d"):format(first, lua, arg[0], job, jobs)))
end

local function finish(passed, failed)
  print(("%d passed, %d failed, 0 skipped"):format(passed, failed))
  os.exit(failed == 0, true)
end

local function search()
  print(("# programs %d to %d"):format(first, first + programs - 1))
  local pipes, passed, failed, how_often, order = {}, 0, 0, {}, {}
  for job = 1, jobs do pipes[job] = start(job) end
  for _, pipe in ipairs(pipes) do
    for line in pipe:lines() do
      local p, f = line:match "^=(%d+) (%d+)$"
      if p then
        passed, failed = passed + p, failed + f
      elseif line:find "^@" then
        local kind = line:sub(2)
        if not how_often[kind] then order[#order + 1] = kind end
        how_often[kind] = (how_often[kind] or 0) + 1
      else
        print(line)
        io.stdout:flush()
      end
    end
    if not pipe:close() then failed = failed + 1 end
  end
  for _, kind in ipairs(order) do print(("%5d times: %s"):format(how_often[kind], kind)) end
  finish(math.tointeger(passed), math.tointeger(failed))
end

local seed = math.tointeger(os.getenv "SEED")
if seed then
  finish(find.replay(seed, math.tointeger(os.getenv "COUNT" or 1)))
elseif arg[1] then
  find.batches(first, programs, math.tointeger(arg[1]), math.tointeger(arg[2]))
else
  search()
end
