-- asyncio.distributed: public calls, cancelled at random moments: a sample of what `make random` runs.
local t = require "helper"
local engine = require "calls.engine"

TestCalls = {}

engine.sample(t, TestCalls, "distributed")

t.finish { sampled = true }
