-- ours.lua spawn|cat|flow N: `true`, N times; or N MB through `cat`, as one string, or in pieces that aren't
-- kept. Prints the seconds of one.
local asyncio = require "asyncio"

local WARM, MB, PIECE = 20, 1000000, 65536
local measure = {}

function measure.spawn(n)
  for _ = 1, WARM do asyncio.run_process { "true" } end
  local begun = asyncio.time()
  for _ = 1, n do asyncio.run_process { "true" } end
  return (asyncio.time() - begun) / n
end

function measure.cat(n)
  local input = ("x"):rep(n * MB)
  local begun = asyncio.time()
  local result = asyncio.run_process({ "cat" }, { input = input, stdout = "pipe" })
  local took = asyncio.time() - begun
  assert(result.stdout == input)
  return took
end

function measure.flow(n)
  local piece, left, got = ("x"):rep(PIECE), n * MB, 0
  local begun = asyncio.time()
  local cat <close> = asyncio.create_subprocess_exec("cat", { stdin = "pipe", stdout = "pipe" })
  local feeder = asyncio.create_task(function()
    while left > 0 do
      cat.stdin:send(left < PIECE and piece:sub(1, left) or piece)
      left = left - PIECE
    end
    cat.stdin:close()
  end)
  for data in cat.stdout:blocks() do got = got + #data end
  asyncio.await(feeder)
  cat:wait()
  assert(got == n * MB)
  return asyncio.time() - begun
end

print(("%.9f"):format(asyncio.run(function() return measure[arg[1]](tonumber(arg[2])) end)))
