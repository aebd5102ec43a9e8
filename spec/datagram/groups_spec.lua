-- Datagrams between hosts: groups and broadcast by interface, addresses that hold on one link.
local t = require "helper"
local hosts = require "datagram.hosts"
local LISTEN, TELL = hosts.LISTEN, hosts.TELL

TestMulticast = {}
TestBroadcast = {}
TestLinkLocal = {}

--- Joins a group and prints what comes; arguments: the group, the interface.
local HEAR = [[
  local group, interface = ...
  local e <close> = asyncio.create_datagram_endpoint {
    local_addr = { host = group:find ":" and "::" or "0.0.0.0", port = 5000 }, reuse_address = true }
  e:join_group(group, interface)
  print "ready"
  for data, address in e:iter() do print(data, address.host) end]]

-- groups

function TestMulticast:test_leaves_by_the_interface_that_was_chosen()
  local scene <close> = hosts.scene()
  local one, two = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(one, "eth0", "10.1.0.1/24")
  a:join(two, "eth1", "10.2.0.1/24")
  b:join(one, "eth0", "10.1.0.2/24")
  c:join(two, "eth0", "10.2.0.2/24")
  local at_b <close> = hosts.ready(b, HEAR, "239.1.2.3", "eth0")
  local at_c <close> = hosts.ready(c, HEAR, "239.1.2.3", "10.2.0.2")
  t.assertEquals(a:run(TELL, "239.1.2.3", "by-name", "eth1"), "")
  at_c:expect "^by%-name\t10.2.0.1\n"
  a:run(TELL, "239.1.2.3", "by-address", "10.1.0.1")
  at_b:expect "^by%-address\t10.1.0.1\n"
  a:run([[
    local e <close> = asyncio.create_datagram_endpoint { family = "inet", multicast_interface = math.tointeger(...) }
    e:send("by-number", { host = "239.1.2.3", port = 5000 })]], a:index "eth1")
  at_c:expect "^by%-number\t10.2.0.1\n"
end

function TestMulticast:test_of_ipv6_leaves_by_the_interface_that_was_chosen()
  local scene <close> = hosts.scene()
  local one, two = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(one, "eth0", "fd01::1/64")
  a:join(two, "eth1", "fd02::1/64")
  b:join(one, "eth0", "fd01::2/64")
  c:join(two, "eth0", "fd02::2/64")
  local at_b <close> = hosts.ready(b, HEAR, "ff05::1:3", "eth0")
  local at_c <close> = hosts.ready(c, HEAR, "ff05::1:3", "eth0")
  t.assertEquals(a:run(TELL, "ff05::1:3", "second", "eth1"), "")
  at_c:expect "^second\tfd02::1\n"
  a:run(TELL, "ff05::1:3", "first", "eth0")
  at_b:expect "^first\tfd01::1\n"
end

function TestMulticast:test_is_heard_at_the_interface_where_the_group_was_joined_only()
  local scene <close> = hosts.scene()
  local one, two = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(one, "eth0", "10.1.0.1/24")
  b:join(one, "eth0", "10.1.0.2/24")
  b:join(two, "eth1", "10.2.0.2/24")
  c:join(two, "eth0", "10.2.0.3/24")
  local at_b <close> = hosts.ready(b, HEAR, "239.1.2.3", "eth0")
  c:run(TELL, "239.1.2.3", "elsewhere", "eth0")
  a:run(TELL, "239.1.2.3", "here", "eth0")
  at_b:expect "^here\t10.1.0.1\n"
end

function TestMulticast:test_of_a_group_that_another_program_has_joined_is_not_heard()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local other <close> = hosts.ready(b, HEAR, "239.1.2.3", "eth0")
  local at_b <close> = hosts.ready(b, HEAR, "239.4.5.6", "eth0")
  a:run(TELL, "239.1.2.3", "for-the-other", "eth0")
  other:expect "^for%-the%-other\t"
  a:run(TELL, "239.4.5.6", "for-us", "eth0")
  at_b:expect "^for%-us\t10.1.0.1\n"
end

function TestMulticast:test_is_heard_no_more_once_the_group_is_left()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, [[
    local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = "0.0.0.0", port = 5000 } }
    e:join_group("239.1.2.3", "eth0")
    print "ready"
    print(e:receive())
    e:leave_group("239.1.2.3", "eth0")
    print "left"
    print(e:receive())]])
  a:run(TELL, "239.1.2.3", "first", "eth0")
  at_b:expect "^first\t[^\n]+\nleft\n"
  a:run(TELL, "239.1.2.3", "second", "eth0")
  a:run(TELL, "10.1.0.2", "third")
  at_b:expect "^third\t"
end

function TestMulticast:test_goes_no_farther_than_its_ttl()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_a <close> = hosts.ready(a, HEAR, "239.1.2.3", "eth0")
  local at_b <close> = hosts.ready(b, HEAR, "239.1.2.3", "eth0")
  a:run [[
    for ttl = 0, 1 do
      local e <close> = asyncio.create_datagram_endpoint {
        family = "inet", multicast_interface = "eth0", multicast_ttl = ttl }
      e:send("ttl" .. ttl, { host = "239.1.2.3", port = 5000 })
    end]]
  at_a:expect "^ttl0\t[^\n]+\nttl1\t"
  at_b:expect "^ttl1\t"
end

function TestMulticast:test_without_loopback_is_not_heard_at_its_own_host()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_a <close> = hosts.ready(a, HEAR, "239.1.2.3", "eth0")
  local at_b <close> = hosts.ready(b, HEAR, "239.1.2.3", "eth0")
  a:run [[
    for _, loopback in ipairs { false, true } do
      local e <close> = asyncio.create_datagram_endpoint {
        family = "inet", multicast_interface = "eth0", multicast_loopback = loopback }
      e:send(tostring(loopback), { host = "239.1.2.3", port = 5000 })
    end]]
  at_a:expect "^true\t"
  at_b:expect "^false\t[^\n]+\ntrue\t"
end

function TestMulticast:test_joining_without_a_way_there_is_an_error_of_that_call()
  local scene <close> = hosts.scene()
  local a = scene:host()
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = "127.0.0.1", port = 0 } }
    for _, interface in ipairs { false, "nowhere0", "10.9.9.9", 99 } do
      local ok, err = pcall(e.join_group, e, "239.1.2.3", interface or nil)
      print(ok, asyncio.type(err), err.code)
    end
    e:join_group("239.1.2.3", "127.0.0.1")
    e:leave_group("239.1.2.3", "127.0.0.1")
    print(pcall(e.leave_group, e, "239.1.2.3", "127.0.0.1"))]],
    "false\tOSError\tENODEV\n" .. "false\tOSError\tENODEV\n" .. "false\tOSError\tENODEV\n" ..
    "false\tOSError\tENODEV\n" ..
    "false\t[EADDRNOTAVAIL] address not available: leave_group 239.1.2.3\n")
end

-- broadcast

function TestBroadcast:test_reaches_all_and_has_to_be_allowed()
  local scene <close> = hosts.scene()
  local a, b, c = scene:lan(3)
  local at_b <close> = hosts.ready(b, LISTEN)
  local at_c <close> = hosts.ready(c, LISTEN)
  t.assertEquals(a:run [[
    local address = { host = "10.1.0.255", port = 5000 }
    local e <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local ok, err = pcall(e.send, e, "refused", address)
    print(asyncio.type(err), err.code, e:stats().sent)
    e:send("fine", { host = "10.1.0.2", port = 5000 })
    local all <close> = asyncio.create_datagram_endpoint { family = "inet", allow_broadcast = true }
    all:send("to all", address)]], "PermissionError\tEACCES\t0\n")
  at_b:expect "^fine\t10.1.0.1\nto all\t10.1.0.1\n"
  at_c:expect "^to all\t10.1.0.1\n"
end

function TestBroadcast:test_one_that_is_refused_keeps_no_other_of_a_batch_back()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN)
  a:run [[
    local all, good = { host = "10.1.0.255", port = 5000 }, { host = "10.1.0.2", port = 5000 }
    local list = { { "one", good }, { "bad", all }, { "two", good }, { "bad", all }, { "three", good } }
    local e <close> = asyncio.create_datagram_endpoint { family = "inet" }
    while list[1] do
      local ok, n = pcall(e.send_many, e, list)
      if not ok then assert(n.code == "EACCES", n) end
      list = table.move(list, (ok and n or 1) + 1, #list, 1, {})
    end]]
  at_b:expect "^one\t[^\n]+\ntwo\t[^\n]+\nthree\t"
end

-- addresses that hold on one link

function TestLinkLocal:test_a_reply_goes_back_by_the_interface_that_it_came_from()
  local scene <close> = hosts.scene()
  local one, two = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(one, "eth0")
  a:join(two, "eth1")
  b:join(one, "eth0")
  c:join(two, "eth0")
  local at_a <close> = hosts.ready(a, [[
    local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = "::", port = 5000 } }
    print "ready"
    for data, address in e:iter() do
      print(data, address.scope_id)
      e:send(data:upper(), address)
    end]])
  local ASK = [[
    local host, text, scope = ...
    local e <close> = asyncio.create_datagram_endpoint { family = "inet6" }
    e:send(text, { host = host, port = 5000, scope_id = math.tointeger(scope) })
    print((e:receive()))]]
  t.assertEquals(c:run(ASK, a:link_local "eth1", "second", c:index "eth0"), "SECOND\n")
  at_a:expect("^second\t" .. a:index "eth1" .. "\n")
  t.assertEquals(b:run(ASK, a:link_local "eth0", "first", b:index "eth0"), "FIRST\n")
  at_a:expect("^first\t" .. a:index "eth0" .. "\n")
end

function TestLinkLocal:test_the_interface_may_stand_in_the_host()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN, b:link_local "eth0" .. "%eth0")
  local far = b:link_local "eth0" .. "%eth0"
  t.assertEquals(a:run([[
    local far = ...
    local e <close> = asyncio.create_datagram_endpoint { remote_addr = { host = far, port = 5000 } }
    e:send "connected"
    print(e:get_extra_info "peername".scope_id)
    local free <close> = asyncio.create_datagram_endpoint { family = "inet6" }
    free:send("free", { host = far, port = 5000 })]], far), a:index "eth0" .. "\n")
  at_b:expect("^connected\t" .. a:link_local "eth0" .. "\nfree\t")
end

t.finish()
