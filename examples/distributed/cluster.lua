-- cluster.lua - counts primes with three workers, which it starts: lua cluster.lua redis://127.0.0.1:6379
--
-- On several machines each runs `asyncio worker --url redis://... primes`, and this program starts none.
local asyncio = require "asyncio"

local url = arg[1] or "redis://127.0.0.1:6379"
local here = arg[0]:match "^(.*)/[^/]*$" or "."
local command = os.getenv "ASYNCIO" or "asyncio" -- with its path, where it is not installed

--- A worker that does one job at a time, and ends with the block.
local function start_worker()
  local opts = { extra_env = { LUA_PATH = here .. "/?.lua;" .. package.path }, stderr = "null" }
  return asyncio.create_subprocess_exec(command, "worker", "--url", url, "--queue", "primes",
    "--concurrency", "1", "primes", opts)
end

local function main()
  local _ <close> = start_worker()
  local _ <close> = start_worker()
  local _ <close> = start_worker()
  local executor <close> = asyncio.distributed.DistributedExecutor { url = url, queue = "primes", lease = 10 }
  local futures, step, all = {}, 1000, 0
  for from = 1, 20000, step do
    futures[#futures + 1] = executor:submit("primes.count", from, from + step - 1)
  end
  for _, future in ipairs(futures) do all = all + asyncio.await(future) end
  print(("%d jobs found %d primes up to 20000"):format(#futures, all))
end

asyncio.run(main)
