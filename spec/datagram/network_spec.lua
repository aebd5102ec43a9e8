-- Datagrams between hosts: errors that routers send back, routes that go, peers that aren't there, narrow ways.
local t = require "helper"
local hosts = require "datagram.hosts"
local program = require "program"
local LISTEN, TELL = hosts.LISTEN, hosts.TELL

TestErrors = {}
TestRoutes = {}
TestRoom = {}
TestLarge = {}

-- errors that come back

function TestErrors:test_a_port_of_another_host_that_refuses_is_told_once_and_the_endpoint_goes_on()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN)
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { remote_addr = { host = "10.1.0.2", port = 9 } }
    for i = 1, 2 do
      e:send "x"
      local ok, err = asyncio.pcall(e.receive, e)
      print(asyncio.type(err), err.address, e:receive_nowait())
    end
    local live <close> = asyncio.create_datagram_endpoint { remote_addr = { host = "10.1.0.2", port = 5000 } }
    live:send "alive"]], ("ConnectionRefusedError\t10.1.0.2:9\tnil\n"):rep(2))
  at_b:expect "^alive\t"
end

function TestErrors:test_of_an_unconnected_endpoint_are_seen_where_they_are_asked_for_only()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  a:sh "ip route add 10.3.0.0/24 via 10.1.0.2 && ip route add 10.4.0.0/24 via 10.1.0.2"
  b:sh "echo 1 >/proc/sys/net/ipv4/ip_forward; ip route add unreachable 10.3.0.0/24; ip route add prohibit 10.4.0.0/24"
  t.assertEquals(a:run [[
    local quiet <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local e <close> = asyncio.create_datagram_endpoint { family = "inet", icmp_errors = true }
    local hosts = { "10.3.0.1", "10.4.0.1", "10.1.0.2" } -- routers send few
    for _, host in ipairs(hosts) do
      local to = { host = host, port = 9 }
      quiet:send("x", to)
      e:send("x", to)
      local ok, err = asyncio.pcall(e.receive, e)
      print(err.code, err.address, e:receive_nowait())
      print(quiet:receive_nowait())
    end]], "EHOSTUNREACH\t10.3.0.1:9\tnil\nnil\n" .. "EHOSTUNREACH\t10.4.0.1:9\tnil\nnil\n" ..
    "ECONNREFUSED\t10.1.0.2:9\tnil\nnil\n")
end

function TestErrors:test_a_connected_endpoint_hears_of_a_way_that_is_missing()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  a:sh "ip route add 10.3.0.0/24 via 10.1.0.2 && ip route add 10.4.0.0/24 via 10.1.0.2"
  b:sh "echo 1 >/proc/sys/net/ipv4/ip_forward; ip route add unreachable 10.3.0.0/24; ip route add prohibit 10.4.0.0/24"
  t.assertEquals(a:run [[
    for _, icmp_errors in ipairs { false, true } do
      for _, host in ipairs { "10.3.0.1", "10.4.0.1", "10.1.0.2" } do
        local e <close> = asyncio.create_datagram_endpoint {
          remote_addr = { host = host, port = 9 }, icmp_errors = icmp_errors }
        e:send "x"
        local ok, err = asyncio.pcall(e.receive, e)
        print(err.code, err.address, e:receive_nowait())
      end
    end]], ("EHOSTUNREACH\t10.3.0.1:9\tnil\n" .. "EHOSTUNREACH\t10.4.0.1:9\tnil\n" ..
    "ECONNREFUSED\t10.1.0.2:9\tnil\n"):rep(2))
end

function TestErrors:test_so_does_one_of_ipv6_and_what_it_hears_of_ipv4()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  a:sh "ip route add fd03::/64 via fd01::2 && ip route add 10.3.0.0/24 via 10.1.0.2"
  b:sh [[
    echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; ip route add unreachable fd03::/64
    echo 1 >/proc/sys/net/ipv4/ip_forward; ip route add unreachable 10.3.0.0/24]]
  t.assertEquals(a:run [[
    local function hear(e)
      local ok, err = asyncio.pcall(e.receive, e)
      print(err.code, err.address, e:receive_nowait())
    end
    local all <close> = asyncio.create_datagram_endpoint { family = "inet6", icmp_errors = true }
    for _, host in ipairs { "fd03::1", "fd01::2", "::ffff:10.3.0.1", "::ffff:10.1.0.2" } do
      local to = { host = host, port = 9 }
      local e <close> = asyncio.create_datagram_endpoint { remote_addr = to }
      e:send "x"
      hear(e)
      all:send("x", to)
      hear(all)
    end]], ("ENETUNREACH\t[fd03::1]:9\tnil\n"):rep(2) .. ("ECONNREFUSED\t[fd01::2]:9\tnil\n"):rep(2) ..
    ("EHOSTUNREACH\t[::ffff:10.3.0.1]:9\tnil\n"):rep(2) .. ("ECONNREFUSED\t[::ffff:10.1.0.2]:9\tnil\n"):rep(2))
end

function TestErrors:test_what_send_has_raised_is_told_no_more_and_costs_no_turns()
  local scene <close> = hosts.scene()
  local a = scene:lan(2)
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { remote_addr = { host = "10.1.0.2", port = 9 } }
    for i = 1, 3 do
      local ok, err
      repeat ok, err = pcall(e.send_nowait, e, "x") until not ok -- the answer comes in its time; the loop doesn't read
      assert(err.code == "ECONNREFUSED")
    end
    asyncio.pcall(asyncio.move_on_after, 0.1, e.receive, e) -- what has come since, as one
    local cpu = os.clock()
    asyncio.pcall(asyncio.move_on_after, 0.3, e.receive, e)
    print(os.clock() - cpu < 0.1, e:receive_nowait())]], "true\tnil\n")
end

function TestErrors:test_of_one_peer_keep_nothing_from_the_others()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN)
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { family = "inet", icmp_errors = true }
    local dead, live = { host = "10.1.0.2", port = 9 }, { host = "10.1.0.2", port = 5000 }
    local refused = 0
    for i = 1, 20 do
      e:send("x", dead)
      e:send("n" .. i, live)
      asyncio.sleep(0.002)
    end
    local ok, err = asyncio.pcall(e.receive, e)
    while not ok do
      assert(err.code == "ECONNREFUSED" and tostring(err.address) == "10.1.0.2:9", err)
      refused = refused + 1
      ok, err = pcall(e.receive_nowait, e)
    end
    print(refused > 0, e:stats().sent)]], "true\t40\n")
  for i = 1, 20 do at_b:expect("^n" .. i .. "\t[^\n]+\n") end
end

function TestErrors:test_a_datagram_goes_no_farther_than_its_ttl()
  local scene <close> = hosts.scene()
  local near, far = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(near, "eth0", "10.1.0.1/24")
  b:join(near, "eth0", "10.1.0.2/24")
  b:join(far, "eth1", "10.2.0.2/24")
  c:join(far, "eth0", "10.2.0.3/24")
  a:sh "ip route add default via 10.1.0.2"
  b:sh "echo 1 >/proc/sys/net/ipv4/ip_forward"
  c:sh "ip route add default via 10.2.0.2"
  local at_c <close> = hosts.ready(c, LISTEN)
  t.assertEquals(a:run [[
    for ttl = 1, 2 do
      local e <close> = asyncio.create_datagram_endpoint { family = "inet", ttl = ttl, icmp_errors = true }
      e:send("ttl" .. ttl, { host = "10.2.0.3", port = 5000 })
      if ttl == 1 then print(select(2, asyncio.pcall(e.receive, e))) end
    end]], "[EHOSTUNREACH] host is unreachable: receive 10.2.0.3:5000\n")
  at_c:expect "^ttl2\t10.1.0.1\n"
end

function TestErrors:test_a_neighbour_that_is_not_there_is_unreachable()
  local scene <close> = hosts.scene()
  local a = scene:lan(1)
  a:sh "ip ntable change name arp_cache dev eth0 retrans 20 || true"
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { family = "inet", icmp_errors = true }
    e:send("x", { host = "10.1.0.77", port = 5000 })
    local ok, err = asyncio.pcall(e.receive, e)
    print(err.code, err.address)]], "EHOSTUNREACH\t10.1.0.77:5000\n")
end

-- routes

function TestRoutes:test_without_one_that_very_send_raises_and_later_ones_go_on()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN)
  t.assertEquals(a:run [[
    local e <close> = asyncio.create_datagram_endpoint { family = "inet" }
    local connected <close> = asyncio.create_datagram_endpoint { remote_addr = { host = "10.1.0.2", port = 5000 } }
    local to = { host = "10.1.0.2", port = 5000 }
    e:send("one", to)
    connected:send "two"
    assert(os.execute "ip route del 10.1.0.0/24 dev eth0")
    print(select(2, pcall(e.send, e, "lost", to)).code, select(2, pcall(e.send_nowait, e, "lost", to)).code)
    print(select(2, pcall(e.send_many, e, { { "lost", to }, { "lost", to } })).code)
    print(select(2, pcall(connected.send, connected, "lost")).code)
    assert(os.execute "ip route add 10.1.0.0/24 dev eth0")
    e:send("three", to)
    connected:send "four"
    print(e:stats().sent, connected:stats().sent)]], "ENETUNREACH\tENETUNREACH\nENETUNREACH\nENETUNREACH\n2\t2\n")
  at_b:expect "^one\t[^\n]+\ntwo\t[^\n]+\n"
  at_b:expect "three\t"
end

function TestRoutes:test_who_receives_waits_on_when_the_own_address_goes_and_comes_back()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local at_b <close> = hosts.ready(b, LISTEN, "10.1.0.2")
  b:sh "ip address del 10.1.0.2/24 dev eth0"
  a:sh "ip neigh flush all"
  a:run(TELL, "10.1.0.2", "lost")
  b:sh "ip address add 10.1.0.2/24 dev eth0"
  a:sh "ip neigh flush all"
  a:run(TELL, "10.1.0.2", "found")
  at_b:expect "found\t10.1.0.1\n"
end

function TestRoutes:test_an_interface_that_goes_takes_its_groups_and_nothing_else()
  local scene <close> = hosts.scene()
  local one, two = scene:network(), scene:network()
  local a, b, c = scene:host(), scene:host(), scene:host()
  a:join(one, "eth0", "10.1.0.1/24")
  c:join(two, "eth0", "10.2.0.3/24")
  b:join(one, "eth0", "10.1.0.2/24")
  b:join(two, "eth1", "10.2.0.2/24")
  local at_b <close> = hosts.ready(b, [[
    local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = "0.0.0.0", port = 5000 } }
    e:join_group("239.1.2.3", "eth0")
    e:join_group("239.1.2.3", "eth1")
    assert(os.execute "ip link delete eth0")
    print "ready"
    for data, address in e:iter() do
      print(data, address.host)
      print(pcall(e.leave_group, e, "239.1.2.3", "eth0"))
      e:leave_group("239.1.2.3", "eth1")
    end]])
  c:run(TELL, "239.1.2.3", "still", "eth0")
  at_b:expect "^still\t10.2.0.3\nfalse\t%[ENODEV%] no such device: [^\n]+\n"
  c:run(TELL, "239.1.2.3", "no-more", "eth0")
  c:run(TELL, "10.2.0.2", "direct")
  at_b:expect "^direct\t"
end

-- no room

--- Fills the queue of an endpoint for a host that isn't there: until the system has given it up, nothing leaves.
local FILL = [[
  local e = asyncio.create_datagram_endpoint { family = "inet", send_buffer = 1 }
  local to, n = { host = "10.1.0.77", port = 5000 }, 0
  while e:send_nowait(("x"):rep(500), to) do n = n + 1 end
  assert(n > 0 and e:stats().sent == n)
]]

local function waiting_neighbours(ms)
  local scene = hosts.scene()
  local a = scene:lan(1)
  a:sh("ip ntable change name arp_cache dev eth0 retrans %d", ms)
  return a, scene
end

function TestRoom:test_send_waits_for_it_and_has_sent_nothing_where_it_is_cancelled()
  local a, scene = waiting_neighbours(100)
  local _ <close> = scene
  t.assertEquals(a:run(FILL .. [[
    print(asyncio.move_on_after(0.01, e.send, e, "cancelled", to))
    print(asyncio.move_on_after(0.01, e.send_many, e, { { "cancelled", to }, { "too", to } }))
    print(e:send_nowait("x", to), e:stats().sent - n)
    e:send("late", to)
    print(e:stats().sent - n, e:send_many { { "a", to }, { "b", to } })
    e:close()]]), "false\nfalse\nfalse\t0\n1\t2\n")
end

function TestRoom:test_those_who_wait_go_in_their_order()
  local a, scene = waiting_neighbours(50)
  local _ <close> = scene
  t.assertEquals(a:run(FILL .. [[
    local order, tasks = {}, {}
    for i = 1, 5 do
      tasks[i] = asyncio.create_task(function()
        e:send(("y"):rep(400), to)
        order[#order + 1] = i
      end)
    end
    asyncio.sleep(0)
    tasks[2]:cancel()
    for i = 1, 5 do pcall(asyncio.wait, { tasks[i] }) end
    print(table.concat(order, " "))
    e:close()]]), "1 3 4 5\n")
end

function TestRoom:test_closing_ends_the_waiting()
  local a, scene = waiting_neighbours(1000)
  local _ <close> = scene
  t.assertEquals(a:run(FILL .. [[
    local task = asyncio.create_task(function() return select(2, asyncio.pcall(e.send, e, "x", to)) end)
    asyncio.sleep(0)
    e:close()
    print(asyncio.await(task))]]), "ClosedError: the endpoint is closed\n")
end

-- large ones

--- Receives with Python, a datagram at a time: prints its length and first letter.
local PYTHON = [[
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
s.bind(("", 5000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton("10.1.0.2"))
print("ready", flush=True)
while True:
    data = s.recv(70000)
    print(len(data), data[:1].decode(), flush=True)
]]

local LENGTHS = "100, 100, 100, 60, 0, 1400, 1400, 1, 1452, 1453, 3000"

--- Sends 40 of such lengths by batches; argument: where to.
local BATCH = [[
  local to, lengths, list, first = { host = (...), port = 5000 }, { ]] .. LENGTHS .. [[ }, {}, 1
  local e <close> = asyncio.create_datagram_endpoint {
    family = "inet", allow_broadcast = true, multicast_interface = "eth0" }
  for i = 1, 40 do list[i] = { string.char(97 + i % 26):rep(lengths[i % #lengths + 1]), to } end
  while list[first] do first = first + e:send_many(list, first) end]]

function TestLarge:test_those_of_a_batch_come_one_by_one_however_narrow_the_way()
  program.needs_python()
  local lengths, expected = load("return { " .. LENGTHS .. "}")(), {}
  for i = 1, 40 do
    local n = lengths[i % #lengths + 1]
    expected[i] = ("%d %s\n"):format(n, n > 0 and string.char(97 + i % 26) or "")
  end
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  local source = program.file_with(PYTHON)
  local listener <close> = b:program("python3 %s", source)
  listener:expect "^ready\n"
  os.remove(source)
  for _, mtu in ipairs { 1500, 1280, 600 } do
    a:sh("ip link set eth0 mtu %d", mtu)
    for _, to in ipairs { "10.1.0.2", "239.1.2.3", "10.1.0.255" } do
      t.assertEquals(a:run(BATCH, to), "")
      for i = 1, 40 do listener:expect("^" .. expected[i]) end
    end
  end
end

function TestLarge:test_one_that_goes_in_pieces_comes_whole()
  local scene <close> = hosts.scene()
  local a, b = scene:lan(2)
  a:sh "ip link set eth0 mtu 1280"
  local at_b <close> = hosts.ready(b, [[
    local e <close> = asyncio.create_datagram_endpoint { local_addr = { host = "0.0.0.0", port = 5000 } }
    print "ready"
    for data in e:iter() do print(#data, data == ("0123456789"):rep(#data // 10)) end]])
  a:run [[
    local e <close> = asyncio.create_datagram_endpoint { remote_addr = { host = "10.1.0.2", port = 5000 } }
    e:send(("0123456789"):rep(6550))
    local ok, err = pcall(e.send, e, ("x"):rep(65508))
    assert(err.code == "EMSGSIZE", err)]]
  at_b:expect "^65500\ttrue\n"
end

t.finish()
