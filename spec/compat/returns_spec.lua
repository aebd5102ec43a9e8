-- asyncio.socket answers as LuaSocket does: the same program (probe.lua) with each prints the same.
local t = require "helper"
local peers = require "peers"
local program = require "program"

local PROBE = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/probe.lua"

--- Part → its lines.
local function answers(lua, where)
  local parts, part = {}, nil
  for line in program.shell("timeout 100 %s '%s' %s 2>&1", lua, PROBE, where):gmatch "[^\n]+" do
    local name = line:match "^%[(%l+)%]$"
    if name then
      part = {}
      parts[name] = part
    elseif part then
      part[#part + 1] = line
    else
      t.fail(line)
    end
  end
  return parts
end

local real, ours = nil, {}

local function compare(name, where)
  peers.luasocket()
  real = real or answers(program.plain_lua, "REAL")
  ours[where] = ours[where] or answers(program.checked_lua, where)
  t.assertNotNil(ours[where][name])
  t.assertEquals(ours[where][name], real[name])
end

TestReturns = {}

for _, name in ipairs { "all", "connect", "dns", "errors", "functions", "groups", "handles", "names",
  "options", "receive", "select", "send", "servers", "sources", "timeouts", "udp", "unix" } do
  TestReturns["test_" .. name .. "_without_a_loop"] = function() compare(name, "OUTSIDE") end
  TestReturns["test_" .. name .. "_in_a_task"] = function() compare(name, "TASK") end
end

t.finish()
