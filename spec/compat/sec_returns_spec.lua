-- asyncio.compat.ssl answers as LuaSec does: the same program (sec_probe.lua) with each prints the same.
local t = require "helper"
local answers = require "compat.answers"
local peers = require "peers"
local secure = require "secure"

local PROBE = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$" .. "/sec_probe.lua"

local same = answers.comparing(function(lua, where)
  return ("timeout 100 %s '%s' %s '%s' 2>&1"):format(lua, PROBE, where, secure.certificates.file ".")
end)

local function compare(name, where)
  peers.luasocket()
  if not package.searchpath("ssl", package.path) then t.skip "LuaSec is not installed" end
  same(name, where)
end

TestReturns = {}

for _, name in ipairs { "bytes", "certificates", "contexts", "curves", "dane", "ends", "files", "meetings", "much",
  "names", "names_asked", "protocols", "trust", "wrong" } do
  TestReturns["test_" .. name .. "_without_a_loop"] = function() compare(name, "OUTSIDE") end
  TestReturns["test_" .. name .. "_in_a_task"] = function() compare(name, "TASK") end
end

t.finish()
