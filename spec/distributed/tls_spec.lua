-- tls_spec.lua - a Redis that is reached by TLS, with a certificate of one's own authority.
local t = require "helper"
local certificates = require "certificates"
local cluster = require "distributed.cluster"
local peers = require "peers"
local program = require "program"

local asyncio = t.asyncio

TestTls = {}

local OPTIONS = "--tls-port %d --bind 127.0.0.1 --tls-auth-clients no --tls-cert-file %s --tls-key-file %s "
  .. "--tls-ca-cert-file %s"

--- Calls fn(cluster, url, ca)
local function with_tls(fn)
  if not program.shell "redis-cli --help 2>&1":find "%-%-tls" then t.skip "this redis-server speaks no TLS" end
  local files, port, ca = certificates.server, peers.reserve_port(), certificates.file "root.pem"
  cluster.test(function(c) fn(c, ("rediss://localhost:%d"):format(port), ca) end,
    OPTIONS:format(port, files.certfile, files.keyfile, ca))
end

local SUBMIT = [[
  local asyncio = require "asyncio"
  asyncio.run(function()
    local executor <close> = asyncio.distributed.DistributedExecutor { url = %q, connect_timeout = 2 }
    print(pcall(asyncio.await, executor:submit("distributed.chores.add", 1, 2)))
  end)]]

--- What a program says that submits a job there.
local function submit(url, env)
  local process <close> = asyncio.create_subprocess_exec(program.lua, "-e", SUBMIT:format(url),
    { stdout = "pipe", stderr = "stdout", extra_env = env })
  return (process:communicate())
end

function TestTls:test_is_between_all_and_redis()
  with_tls(function(c, url, ca)
    local env = { SSL_CERT_FILE = ca }
    local _ <close> = c:process("", { url = url, env = env })
    t.assertEquals(submit(url, env), "true\t3\n")
  end)
end

function TestTls:test_with_a_certificate_that_nobody_knows_is_refused()
  with_tls(function(c, url)
    t.assertStrContains(submit(url), "certificate")
    local worker <close> = c:process("--connect-timeout 2", { url = url, unready = true })
    t.assertEquals(worker:wait(), 1)
    t.assertStrContains(worker.output, "certificate")
  end)
end

t.finish()
