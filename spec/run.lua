-- run.lua [FILE...] - runs the spec files, each in a process of its own; all without arguments.
-- The last line is "N passed, N failed, N skipped"; the exit status is 1 when one failed.
-- They test the tree that this file is in when it has been built, else the rock that is installed.
-- For the checks: SPEC_LUA (the interpreter's command line), SPEC_LIMIT (seconds for a file),
-- SPEC_JOBS (how many files at a time), SPEC_QUICK (not the files whose first line begins with "-- slow"),
-- SPEC_SAMPLE (N: only every Nth test of the files that ask for it, see helper.lua),
-- SPEC_SAMPLE_ALL (N: of all others).
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local limit = os.getenv "SPEC_LIMIT" or "300"
local jobs = tonumber(os.getenv "SPEC_JOBS" or 1)
local quick = os.getenv "SPEC_QUICK"

local scratch = os.tmpname() -- for what the files of a run share: certificates.lua
os.remove(scratch)

local function lines_of(source)
  local list = {}
  for line in source:lines() do list[#list + 1] = line end
  return list
end

local function spec_files()
  local pipe <close> = assert(io.popen(("find '%s' -name '*_spec.lua' | LC_ALL=C sort"):format(here)))
  return lines_of(pipe)
end

--- Where the spec files look for modules, as a command that the interpreter's follows.
local function environment()
  local path, cpath = package.path, package.cpath
  local built = io.open(here .. "/../build/asyncio/core.so")
  if built and not (os.getenv "LUA_CPATH" or ""):find("/build", 1, true) then
    path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, path)
    cpath = ("%s/../build/?.so;%s"):format(here, cpath)
  end
  if built then built:close() end
  local programs = ("$PATH:$(cd '%s/..' && pwd)/build-peers/usr/sbin"):format(here) -- from tools/setup
  return ("env SPEC_SCRATCH='%s' PATH=\"%s\" LUA_PATH='%s/?.lua;%s' LUA_CPATH='%s'"):format(scratch, programs, here,
    path, cpath)
end

--- Slow files first: what is left for the end is short, then, and no processor waits long for the last one.
local function sorted(files)
  local slow, others = {}, {}
  for _, name in ipairs(files) do
    local file <close> = assert(io.open(name))
    table.insert((file:read "l" or ""):find "^%-%- slow" and slow or others, name)
  end
  return quick and others or table.move(others, 1, #others, #slow + 1, slow)
end

-- What is run for each file. Its output goes to a file of its own; a line says when it ended, and how.
local JOB = [[out=$(mktemp) began=$(date +%%s)
%s timeout -k 5 %s %s "$1" </dev/null >"$out" 2>&1
echo $? $(($(date +%%s) - began)) "$out" "$1"]]

--- Runs the files, so many at a time; calls fn with each as it ends: its name, status, seconds, lines of output.
local function each_outcome(files, fn)
  local name = os.tmpname()
  local file <close> = assert(io.open(name, "w"))
  for _, spec in ipairs(files) do file:write(spec, "\0") end
  file:close()
  local job = JOB:format(environment(), limit, lua):gsub("'", [['\'']])
  local pipe <close> = assert(io.popen(("xargs -0 -n 1 -P %d sh -c '%s' run <'%s'"):format(jobs, job, name)))
  for line in pipe:lines() do
    local status, seconds, out, spec = line:match "^(%d+) (%d+) (%S+) (.*)$"
    do
      local output <close> = assert(io.open(out))
      fn { file = spec, status = status // 1, seconds = seconds // 1, output = lines_of(output) }
    end
    os.remove(out)
  end
  os.remove(name)
end

--- Counts what its last line says. Without one it crashed, took too long, or ended badly.
local function count(run)
  run.passed, run.failed, run.skipped, run.ran = 0, 0, 0, false
  for _, line in ipairs(run.output) do
    local p, f, s = line:match "^spec: (%d+) passed, (%d+) failed, (%d+) skipped$"
    if p then run.ran, run.passed, run.failed, run.skipped = true, p // 1, f // 1, s // 1 end
  end
  if run.status ~= 0 and run.failed == 0 then run.failed = 1 end
end

--- Says how it went, at length when it went badly.
local function tell(run)
  local bad = run.failed > 0
  print(("%s %s (%d in %d s)"):format(bad and "FAIL" or "ok  ", run.file, run.passed + run.failed + run.skipped,
    run.seconds))
  for _, line in ipairs(run.output) do
    if bad or line:find "# skip" then print("     " .. line) end
  end
  if run.status ~= 0 and not (run.ran and run.status == 1) then
    print(("     the file %s (exit %d%s)"):format(run.ran and "ended badly" or "did not run to its end",
      run.status, run.status == 124 and (": longer than " .. limit .. " s") or ""))
  end
  io.stdout:flush()
end

local files = #arg > 0 and arg or sorted(spec_files())
if #files == 0 then error "no spec files" end

os.execute(("mkdir -m 700 '%s'"):format(scratch))
local ended, passed, failed, skipped = 0, 0, 0, 0
each_outcome(files, function(run)
  count(run)
  tell(run)
  ended, passed, failed, skipped = ended + 1, passed + run.passed, failed + run.failed, skipped + run.skipped
end)
os.execute(("rm -rf '%s'"):format(scratch))
if ended < #files then -- somebody killed xargs
  print(("FAIL %d files that were not run to their end"):format(#files - ended))
  failed = failed + #files - ended
end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0, true)
