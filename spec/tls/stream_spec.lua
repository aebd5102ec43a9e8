-- slow
-- stream_spec.lua - all that reader_spec and writer_spec ask of a connection holds of an encrypted one, too.
local t = require "helper"
local peers = require "peers"
local secure = require "secure"

local connected, finish = peers.pair, t.finish

function peers.pair(fn, opts)
  opts = opts or {}
  return connected(fn, {
    near = secure.joined({ ssl = secure.client_context(), server_hostname = "localhost" }, opts.near),
    far = secure.joined({ ssl = secure.server_context() }, opts.far),
  })
end

function t.finish() end

local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"
for _, subject in ipairs { "reader", "writer" } do dofile(("%s/../%s_spec.lua"):format(here, subject)) end
peers.pair, t.finish = connected, finish

t.finish { sampled = true }
