-- Where a Redis server is: URLs and options.
local t = require "helper"
local settings = require "asyncio.redis.settings"

TestUrl = {}
TestOptions = {}

--- What is read, without what is always there.
local function read(...)
  local opts = settings.read(...)
  t.assertEquals({ opts.connect_timeout, opts.timeout, opts.max_connections }, { 10, 30, 100 })
  opts.connect_timeout, opts.timeout, opts.max_connections = nil, nil, nil
  return opts
end

local function wrong(text, ...)
  t.assertErrorMsgContains(text, settings.read, ...)
end

function TestUrl:test_has_a_host_and_a_port()
  local here = { host = "127.0.0.1", port = 6379, to = "127.0.0.1:6379" }
  for _, url in ipairs { "redis://", "redis:///", "redis://127.0.0.1", "REDIS://127.0.0.1:6379/", "redis://:6379" } do
    t.assertEquals(read(url), here)
  end
  t.assertEquals(read "redis://db.example:7000", { host = "db.example", port = 7000, to = "db.example:7000" })
  t.assertEquals(read "redis://[::1]:7000", { host = "::1", port = 7000, to = "[::1]:7000" })
end

function TestUrl:test_has_a_login_and_a_database()
  t.assertEquals(read "redis://u%40:p%3a%2F@h/3",
    { host = "h", port = 6379, to = "h:6379", username = "u@", password = "p:/", db = 3 })
  t.assertEquals(read "redis://:p@h?db=4", { host = "h", port = 6379, to = "h:6379", password = "p", db = 4 })
end

function TestUrl:test_may_mean_tls_or_a_unix_socket()
  t.assertEquals(read "rediss://h", { host = "h", port = 6379, to = "h:6379", ssl = true })
  t.assertEquals(read "unix:///run/a%20b.sock?db=1", { path = "/run/a b.sock", to = "/run/a b.sock", db = 1 })
  t.assertEquals(read "unix://:p@/run/s", { path = "/run/s", to = "/run/s", password = "p" })
end

function TestUrl:test_that_is_none_is_refused_in_words()
  wrong("redis://, rediss:// or unix:// expected, got", "http://h")
  wrong('got "http://...@h"', "http://u:secret@h")
  wrong("got \"h:6379\"", "h:6379")
  wrong('"x" is no number of a database', "redis://h/x")
  wrong('"-1" is no number of a database', "redis://h?db=-1")
  wrong("the URL's query has \"timeout=3\"", "redis://h?timeout=3")
  wrong("the URL's query has \"db=2\"", "redis://h/1?db=2")
  wrong("a user without a password", "redis://me@h")
  wrong("has a % that two hexadecimal digits must follow", "redis://:100%@h")
  wrong("the URL has a #", "redis://:a#b@h")
  wrong("is no host, or no host:port", "redis://h:port")
  wrong("port from 0 to 65535 expected", "redis://h:65536")
  wrong("unix:// is followed by an absolute path", "unix://run/s")
  wrong("unix:// is followed by an absolute path", "unix://")
end

function TestUrl:test_may_have_options_beside_it()
  local opts = settings.read("redis://h", { password = "p", db = 1, timeout = 5, client_name = "me" })
  t.assertEquals({ opts.password, opts.db, opts.timeout, opts.client_name, opts.host }, { "p", 1, 5, "me", "h" })
  wrong("'db': the URL says it already", "redis://h/1", { db = 2 })
  wrong("'host': the URL says it already", "redis://h", { host = "g" })
  wrong("'ssl' goes with rediss://", "redis://h", { ssl = true })
  wrong("unknown option 'hots', did you mean 'host'?", "redis://h", { hots = "g" })
end

function TestOptions:test_are_those_of_the_url()
  t.assertEquals(read { host = "h", port = 1, db = 2, password = "p" },
    { host = "h", port = 1, to = "h:1", db = 2, password = "p" })
  t.assertEquals(read {}, { host = "127.0.0.1", port = 6379, to = "127.0.0.1:6379" })
end

function TestOptions:test_that_do_not_go_together_are_refused()
  wrong("'path' does not go with 'host' or 'port'", { path = "/s", host = "h" })
  wrong("'username' does not go without 'password'", { username = "u" })
  wrong("'server_hostname' does not go without 'ssl'", { server_hostname = "h" })
  wrong("'client_name': Redis takes no spaces", { client_name = "a b" })
  wrong("the options stand in the table", {}, {})
  wrong("URL (a string) or table of options expected, got number", 5)
end

function TestOptions:test_name_the_nearest()
  wrong("hostname", { hostname = "h" })
  wrong("password", { pass = "p" })
end

t.finish()
