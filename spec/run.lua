-- run.lua [FILE...] - runs the spec files, each in a process of its own; all without arguments.
-- The last line is "N passed, N failed, N skipped"; the exit status is 1 when one failed.
-- They test the tree that this file is in when it has been built, else the rock that is installed.
-- For the checks: SPEC_LUA (the interpreter's command line), SPEC_LIMIT (seconds for a file).
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local limit = os.getenv "SPEC_LIMIT" or "120"

local function lines_of(command)
  local pipe, list = assert(io.popen(command)), {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list, pipe:close()
end

--- Where the spec files look for modules: `environment VAR=VALUE command`.
local function environment()
  local path, cpath = package.path, package.cpath
  local built = io.open(here .. "/../build/asyncio/core.so")
  if built and not (os.getenv "LUA_CPATH" or ""):find("/build", 1, true) then
    built:close()
    path = ("%s/../lua/?.lua;%s/../lua/?/init.lua;%s"):format(here, here, path)
    cpath = ("%s/../build/?.so;%s"):format(here, cpath)
  end
  return ("env LUA_PATH='%s/?.lua;%s' LUA_CPATH='%s'"):format(here, path, cpath)
end

local files = { table.unpack(arg) }
if #files == 0 then
  files = lines_of(("find '%s' -name '*_spec.lua' | LC_ALL=C sort"):format(here))
end
if #files == 0 then error "no spec files" end

local passed, failed, skipped = 0, 0, 0

--- Runs one; says how it went, at length when it went badly.
local function run(file, env)
  local began = os.time()
  local output, ok, how, code = lines_of(("%s timeout -k 5 %s %s '%s' </dev/null 2>&1"):format(env, limit, lua, file))
  local p, f, s
  for _, line in ipairs(output) do
    local a, b, c = line:match "^spec: (%d+) passed, (%d+) failed, (%d+) skipped$"
    if a then p, f, s = tonumber(a), tonumber(b), tonumber(c) end
  end
  local ran = p ~= nil
  if not ran then p, f, s = 0, 0, 0 end
  if not ok and f == 0 then f = 1 end -- it crashed, took too long, or ended badly after its last test
  passed, failed, skipped = passed + p, failed + f, skipped + s
  print(("%s %s (%d in %d s)"):format(f > 0 and "FAIL" or "ok  ", file, p + f + s, os.time() - began))
  for _, line in ipairs(output) do
    if f > 0 or line:find "^# skip" then print("     " .. line) end
  end
  if not ok and (not ran or code ~= 1) then
    print(("     the file %s (%s %s%s)"):format(ran and "ended badly" or "did not run to its end", how, code,
      code == 124 and (": longer than " .. limit .. " s") or ""))
  end
  io.stdout:flush()
end

local env = environment()
for _, file in ipairs(files) do run(file, env) end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0, true)
