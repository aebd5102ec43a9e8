-- supervisor.lua - keeps real programs running: what ends is started again, later each time it ends at once.
-- Ctrl-C or SIGTERM ends all of them, and what they have started.
--
--     asyncio examples/processes/supervisor.lua "sleep 3" "echo hello; exit 1"
local asyncio = require "asyncio"

local FIRST, LAST, GOOD = 0.1, 5, 10 -- seconds: pauses; who runs so long is well

local function log(name, ...) print(("%-8s"):format(name) .. string.format(...)) end

-- Runs until it is cancelled. most: how often it is started at most; nil: for ever
local function supervise(name, script, most)
  local pause, starts = FIRST, 0
  while not most or starts < most do
    local began = asyncio.time()
    starts = starts + 1
    do
      local opts = { process_group = 0, stderr = "stdout" }
      local process <close> = asyncio.create_subprocess_shell(script, opts)
      log(name, "started")
      log(name, "ended with %d", process:wait())
    end
    pause = asyncio.time() - began >= GOOD and FIRST or math.min(2 * pause, LAST)
    asyncio.sleep(pause)
  end
end

local function main(scripts)
  local most = #scripts == 0 and 2 or nil -- without arguments it shows itself
  if most then scripts = { "exit 1", "sleep 0.1" } end
  local group <close> = asyncio.TaskGroup()
  for i, script in ipairs(scripts) do group:create_task(supervise, "job " .. i, script, most) end
end

local runner <close> = asyncio.Runner { stop_signals = { "SIGTERM" } }
runner:run(function() main(arg) end)
