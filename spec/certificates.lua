-- certificates.lua - the certificates of the TLS specs, good ones and bad ones (certificates.sh), once for all files of
-- a run.
--
--     certificates.server.certfile, certificates.server.keyfile
--     certificates.file "root.pem"
local here = debug.getinfo(1, "S").source:match "^@(.*)/[^/]*$"

local folder = os.getenv "SPEC_SCRATCH"
if not folder then -- a spec that is run by hand
  folder = os.tmpname()
  os.remove(folder)
  os.execute(("mkdir -m 700 '%s'"):format(folder))
  local over = setmetatable({}, { __gc = function() os.execute(("rm -rf '%s'"):format(folder)) end })
  debug.getregistry()[over] = true -- until the state is closed
end
assert(os.execute(("sh '%s/certificates.sh' '%s' || { cat '%s/made'; exit 1; }"):format(here, folder, folder)),
  "the certificates could not be made")

local certificates = {}

function certificates.file(name) return folder .. "/" .. name end

--- The text of one.
function certificates.text(name)
  local file <close> = assert(io.open(certificates.file(name)))
  return (file:read "a")
end

--- One for a client, which expires at that time. Only one file of specs may make any.
function certificates.short(time)
  local ends = os.date("!%Y%m%d%H%M%SZ", time)
  local name = "short" .. ends
  assert(os.execute(([[
    cd '%s' && exec >short.made 2>&1 || exit 1
    export OPENSSL_CONF="$PWD/openssl.cnf" USAGE=clientAuth SAN=email:ada@example.org
    openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -section request -subj /CN=%s \
      -out %s.csr &&
    openssl ca -batch -name books_intermediate -in %s.csr -extensions named -startdate 20200101000000Z -enddate %s \
      -notext -out %s.leaf &&
    cat %s.leaf intermediate.pem >%s.pem
  ]]):format(folder, name, name, name, name, ends, name, name, name)))
  return certificates[name]
end

return setmetatable(certificates, {
  __index = function(_, name)
    return { certfile = certificates.file(name .. ".pem"), keyfile = certificates.file(name .. ".key") }
  end,
})
