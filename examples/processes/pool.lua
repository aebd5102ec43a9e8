-- pool.lua - many programs, so many at a time, with a progress bar.
--
--     asyncio examples/processes/pool.lua 4 sleep 0.3
--
-- runs that command 20 times, each with its number as $N.
local asyncio = require "asyncio"

local JOBS, WIDTH = 20, 40

local function bar(done)
  local full = WIDTH * done // JOBS
  io.stderr:write(("\r[%s%s] %d/%d"):format(("#"):rep(full), ("."):rep(WIDTH - full), done, JOBS))
end

local function main(at_once, ...)
  local command = { ... }
  if #command == 0 then command = { "sh", "-c", "sleep 0.0$N; exit $((N % 10 == 7))" } end
  local list, done, failed = {}, 0, {}
  for i = 1, JOBS do list[i] = i end
  asyncio.map(function(i)
    local result = asyncio.run_process(command, { extra_env = { N = i }, capture = true, check = false })
    if result.returncode ~= 0 then failed[#failed + 1] = i end
    done = done + 1
    bar(done)
  end, list, { max_concurrent = tonumber(at_once) or 4 })
  io.stderr:write "\n"
  table.sort(failed)
  print(("%d ended well, %d failed: %s"):format(JOBS - #failed, #failed, table.concat(failed, " ")))
end

asyncio.run(function() main(table.unpack(arg)) end)
