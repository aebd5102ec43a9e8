--- Work for many machines: `asyncio.distributed`. A DistributedExecutor stores jobs in Redis, workers (the
-- command `asyncio worker`) run them, on as many machines as there are. Each job runs at least once: when a
-- worker dies, or stalls, another takes its jobs over.
--
-- The errors are classes below `asyncio.Error`, and fields of this module; jobs' futures have them:
--
-- - `JobFailed`: the workers that ran a job died, or stalled, `max_attempts` times; `attempts`: how many
--   there were; `errors`: a list of what became of them
-- - `JobLost`: Redis has lost the job: its memory was wiped, or went back to what was on its disk
-- - `ResultExpired`: there is no such job any more: its result was kept for `result_ttl`
-- @module asyncio.distributed
-- @usage
-- local function main(url)
--   local executor <close> = asyncio.distributed.DistributedExecutor { url = url }
--   local future = executor:submit("primes.count", 1, 1000000)
--   print(asyncio.await(future))
-- end
local errors = require "asyncio.distributed.errors"
local executor = require "asyncio.distributed.executor"
local job = require "asyncio.distributed.job"

local distributed = {}

distributed.DistributedExecutor = executor.DistributedExecutor

--- The workers that ran a job died, or stalled, `max_attempts` times. `attempts`: how many attempts there
-- were; `errors`: a list of what became of them.
distributed.JobFailed = errors.JobFailed

--- Redis has lost the job: its memory was wiped, or went back to what was on its disk.
distributed.JobLost = errors.JobLost

--- There is no such job any more: its result was kept for `result_ttl`.
distributed.ResultExpired = errors.ResultExpired

--- The job whose function calls this, also in tasks that it has started; nil in none.
-- @treturn ?Job
-- @function distributed.job
distributed.job = job.current

return distributed
