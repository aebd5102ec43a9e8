-- The examples of datagrams, as people run them.
local t = require "helper"
local hosts = require "datagram.hosts"
local program = require "program"

TestDns = {}
TestDiscovery = {}
TestCounter = {}

local folder = program.examples .. "datagrams/"

local function dns(arguments)
  return program.shell("timeout 60 %s %sdns.lua %s 2>&1", program.lua, folder, arguments)
end

function TestDns:test_asks_its_own_server()
  t.assertEquals({ dns "one.example" }, { "192.0.2.1\n2001:db8:0:0:0:0:0:1\n", 0 })
  t.assertEquals({ dns "two.example" }, { "192.0.2.2\n192.0.2.3\n", 0 })
  t.assertEquals({ dns "three.example" }, { "dns.lua: three.example: no such name\n", 1 })
end

function TestDns:test_asks_another_server_and_nobody_where_nobody_is()
  local server <close> = program.start("%s %sdns.lua --serve", program.lua, folder)
  local port = server:expect "Listening on 127%.0%.0%.1:(%d+)\n"
  t.assertEquals({ dns("ONE.Example 127.0.0.1 " .. port) }, { "192.0.2.1\n2001:db8:0:0:0:0:0:1\n", 0 })
  t.assertEquals({ server:interrupt() }, { "", 0 })
  local output, status = dns("one.example 127.0.0.1 " .. port)
  t.assertStrMatches(output, "dns.lua: connection refused: [^\n]*\n")
  t.assertEquals(status, 1)
end

function TestDns:test_a_label_that_is_too_long_is_refused()
  local output, status = dns(("x"):rep(64) .. ".example")
  t.assertStrContains(output, "63 at most")
  t.assertEquals(status, 1)
end

function TestDiscovery:test_finds_all_services_of_the_network()
  local scene <close> = hosts.scene()
  local a, b, c = scene:lan(3)
  local one <close> = b:program("%s %sdiscovery.lua serve printer 631 eth0", program.lua, folder)
  local two <close> = c:program("%s %sdiscovery.lua serve printer 6310 eth0", program.lua, folder)
  local three <close> = c:program("%s %sdiscovery.lua serve music 70 eth0", program.lua, folder)
  for _, service in ipairs { one, two, three } do service:expect "Serving" end
  local function found(name)
    local lines = {}
    for line in a:sh("%s %sdiscovery.lua find %s eth0", program.lua, folder, name):gmatch "[^\n]+" do
      lines[#lines + 1] = line
    end
    table.sort(lines)
    return lines
  end
  t.assertEquals(found "printer", { "10.1.0.2:631", "10.1.0.3:6310" })
  t.assertEquals(found "music", { "10.1.0.3:70" })
  t.assertEquals(found "coffee", { "Nobody has answered." })
end

function TestDiscovery:test_says_how_it_is_used()
  local output, status = program.shell("%s %sdiscovery.lua serve 2>&1", program.lua, folder)
  t.assertStrMatches(output, "usage: .*")
  t.assertEquals(status, 2)
end

function TestCounter:test_counts_and_tells_what_was_bad()
  program.needs_nc()
  local counter <close> = program.start("%s %scounter.lua 127.0.0.1 0", program.lua, folder)
  local port = counter:expect "Listening on 127%.0%.0%.1:(%d+)\n"
  local function tell(text) program.shell("printf '%s' | nc -u -q0 127.0.0.1 %s", text, port) end
  tell "requests:1|c\\nrequests:2|c"
  tell "errors.db:1|c"
  tell "requests:many|c\\n\\nrequests:4|c"
  for _ = 1, 100 do
    local line = counter:expect "([^\n]+)\n"
    if line:find "3 datagrams" then
      t.assertEquals(line, "errors.db=1 requests=7; 3 datagrams, 0 dropped here, 0 by the kernel, 1 bad lines")
      break
    end
  end
  local last, status = counter:interrupt()
  t.assertStrContains(last, "requests=7")
  t.assertEquals(status, 0)
end

t.finish()
