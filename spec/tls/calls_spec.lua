-- TLS: public calls, cancelled at random moments: a sample of what `make random` runs.
local t = require "helper"
require "secure" -- without OpenSSL there is nothing to call
local engine = require "calls.engine"

TestCalls = {}

engine.sample(t, TestCalls, "tls")

t.finish()
