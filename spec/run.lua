-- run.lua [FILE...] - runs the spec files, each in a process of its own; all without arguments.
-- The last line is "N passed, N failed, N skipped"; the exit status is 1 when one failed.
-- Wrappers, for the checks: SPEC_LUA (the interpreter's command line), SPEC_LIMIT (seconds a file).
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local lua = os.getenv "SPEC_LUA" or os.getenv "LUA" or "lua5.4"
local limit = os.getenv "SPEC_LIMIT" or "120"

local function lines_of(command)
  local pipe, list = assert(io.popen(command)), {}
  for line in pipe:lines() do list[#list + 1] = line end
  return list, pipe:close()
end

local files = { table.unpack(arg) }
if #files == 0 then
  files = lines_of(("find '%s' -name '*_spec.lua' | LC_ALL=C sort"):format(here))
end
if #files == 0 then error "no spec files" end

local passed, failed, skipped = 0, 0, 0
for _, file in ipairs(files) do
  local output, ok, how, code = lines_of(("timeout -k 5 %s %s '%s' </dev/null 2>&1"):format(limit, lua, file))
  local ran = false
  for _, line in ipairs(output) do
    local p, f, s = line:match "^spec: (%d+) passed, (%d+) failed, (%d+) skipped$"
    if p then
      ran = true
      passed, failed, skipped = passed + p, failed + f, skipped + s
    end
  end
  local bad = not ok or not ran
  if bad and (not ran or code ~= 1) then failed = failed + 1 end
  print(("%s %s"):format(bad and "FAIL" or "ok  ", file))
  for _, line in ipairs(output) do
    if bad or line:find "^# skip" then print("     " .. line) end
  end
  if bad and not ran then
    print(("     the file did not run to its end (%s %s)"):format(tostring(how), tostring(code)))
  end
end
print(("%d passed, %d failed, %d skipped"):format(passed, failed, skipped))
os.exit(failed == 0, true)
