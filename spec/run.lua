-- run.lua [FILE...] - runs the spec files, each in a process of its own; all without arguments.
-- The last line is "N passed, N failed, N skipped"; the exit status is 1 when one failed.
-- They test the tree that this file is in when it has been built, else the rock that is installed.
-- For the checks: SPEC_LUA (the interpreter's command line), SPEC_LIMIT (seconds for a file),
-- SPEC_JOBS (how many files at a time).
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local limit = os.getenv "SPEC_LIMIT" or "120"
local jobs = tonumber(os.getenv "SPEC_JOBS" or 1)

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
  return ("env LUA_PATH='%s/?.lua;%s' LUA_CPATH='%s'"):format(here, path, cpath)
end

--- Starts one. Its output goes to a file, so that it never waits for us; when it ended, to the pipe.
local function start(file, env)
  local out = os.tmpname()
  local pipe = assert(io.popen(("%s timeout -k 5 %s %s '%s' </dev/null >%s 2>&1; status=$?; date +%%s; exit $status")
    :format(env, limit, lua, file, out)))
  return { file = file, out = out, pipe = pipe, began = os.time() }
end

--- Waits for its end.
local function outcome(job)
  local ended = job.pipe:read "n"
  local run = { file = job.file, passed = 0, failed = 0, skipped = 0, ran = false }
  run.ok, run.how, run.code = job.pipe:close()
  run.seconds = ended - job.began
  do
    local output <close> = assert(io.open(job.out))
    run.output = lines_of(output)
  end
  os.remove(job.out)
  for _, line in ipairs(run.output) do
    local p, f, s = line:match "^spec: (%d+) passed, (%d+) failed, (%d+) skipped$"
    if p then run.ran, run.passed, run.failed, run.skipped = true, p // 1, f // 1, s // 1 end
  end
  if not run.ok and run.failed == 0 then run.failed = 1 end -- it crashed, took too long, or ended badly
  return run
end

--- Says how it went, at length when it went badly.
local function tell(run)
  local bad = run.failed > 0
  print(("%s %s (%d in %d s)"):format(bad and "FAIL" or "ok  ", run.file, run.passed + run.failed + run.skipped,
    run.seconds))
  for _, line in ipairs(run.output) do
    if bad or line:find "# skip" then print("     " .. line) end
  end
  if not run.ok and not (run.ran and run.code == 1) then
    print(("     the file %s (%s %s%s)"):format(run.ran and "ended badly" or "did not run to its end",
      run.how, run.code, run.code == 124 and (": longer than " .. limit .. " s") or ""))
  end
  io.stdout:flush()
end

local files, env, running = #arg > 0 and arg or spec_files(), environment(), {}
if #files == 0 then error "no spec files" end

local passed, failed, skipped = 0, 0, 0
for i = 1, #files + jobs - 1 do
  if files[i] then table.insert(running, start(files[i], env)) end
  if i >= jobs and running[1] then
    local run = outcome(table.remove(running, 1))
    tell(run)
    passed, failed, skipped = passed + run.passed, failed + run.failed, skipped + run.skipped
  end
end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0, true)
