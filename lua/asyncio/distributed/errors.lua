--- The error classes of `asyncio.distributed`.
-- @module asyncio.distributed.errors
local core = require "asyncio.core"

local errors = {}

local Error = core.Error

--- The workers that ran the job died, or stalled, `max_attempts` times. `attempts`: how many there were;
-- `errors`: a list of what became of them.
errors.JobFailed = core.library_class(Error, "JobFailed")

--- Redis has lost the job: its memory was wiped, or went back to what was on its disk.
errors.JobLost = core.library_class(Error, "JobLost")

--- There is no such job any more, or never was: results are kept for `result_ttl`.
errors.ResultExpired = core.library_class(Error, "ResultExpired")

return errors
