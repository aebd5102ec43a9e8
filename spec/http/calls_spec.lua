-- calls_spec.lua - a sample of spec/calls: requests that are cancelled at random moments.
local t = require "helper"
local engine = require "calls.engine"

TestCalls = {}
engine.sample(t, TestCalls, "http")

t.finish()
