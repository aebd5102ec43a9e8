-- asyncio.socket answers as LuaSocket does: the same program (probe.lua) with each prints the same.
local t = require "helper"
local answers = require "compat.answers"
local peers = require "peers"

local PROBE = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/probe.lua"

local same = answers.comparing(function(lua, where)
  return ("timeout 100 %s '%s' %s 2>&1"):format(lua, PROBE, where)
end)

local function compare(name, where)
  peers.luasocket()
  same(name, where)
end

TestReturns = {}

for _, name in ipairs { "all", "connect", "dns", "errors", "functions", "groups", "handles", "names",
  "options", "receive", "select", "send", "servers", "sources", "timeouts", "udp", "unix" } do
  TestReturns["test_" .. name .. "_without_a_loop"] = function() compare(name, "OUTSIDE") end
  TestReturns["test_" .. name .. "_in_a_task"] = function() compare(name, "TASK") end
end

t.finish()
