-- asyncio.compat.ssl answers as LuaSec does: the same program (sec_probe.lua) with each prints the same.
local t = require "helper"
local peers = require "peers"
local program = require "program"
local secure = require "secure"

local PROBE = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/sec_probe.lua"

--- Part → its lines.
local function answers(lua, where)
  local folder = secure.certificates.file "."
  local parts, part = {}, nil
  for line in program.shell("timeout 100 %s '%s' %s '%s' 2>&1", lua, PROBE, where, folder):gmatch "[^\n]+" do
    local name = line:match "^%[([%l_]+)%]$"
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
  if not package.searchpath("ssl", package.path) then t.skip "LuaSec is not installed" end
  real = real or answers(program.plain_lua, "REAL")
  ours[where] = ours[where] or answers(program.checked_lua, where)
  t.assertNotNil(ours[where][name])
  t.assertEquals(ours[where][name], real[name])
end

TestReturns = {}

for _, name in ipairs { "bytes", "certificates", "contexts", "curves", "dane", "ends", "files", "meetings", "much",
  "names", "names_asked", "protocols", "trust", "wrong" } do
  TestReturns["test_" .. name .. "_without_a_loop"] = function() compare(name, "OUTSIDE") end
  TestReturns["test_" .. name .. "_in_a_task"] = function() compare(name, "TASK") end
end

t.finish()
