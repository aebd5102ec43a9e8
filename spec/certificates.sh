#!/bin/sh
# certificates.sh FOLDER - makes the certificates of the TLS specs there, unless they are: NAME.pem is a chain without
# its root, NAME.key its key. root.pem is to be trusted. Errors go to FOLDER/made.
# shellcheck disable=SC2086,SC2046 # several words
set -e
cd "$1"
exec 9>lock
! command -v flock >/dev/null || flock 9
[ ! -e complete ] || exit 0
exec >made 2>&1

cat >openssl.cnf <<'END'
[request]
distinguished_name = name
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[narrow]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
nameConstraints = critical,permitted;DNS:example.org
[shallow]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[strange]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost
1.2.3.4 = critical,ASN1:UTF8String:whatever
[person]
O = Engines
CN = Ada
[leaf]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
extendedKeyUsage = $ENV::USAGE
[named]
basicConstraints = CA:FALSE
subjectKeyIdentifier = hash
extendedKeyUsage = $ENV::USAGE
subjectAltName = $ENV::SAN
[books_root]
database = root.books
certificate = root.pem
private_key = root.key
default_md = sha256
default_crl_days = 30
[books_intermediate]
database = intermediate.books
new_certs_dir = .
certificate = intermediate.pem
private_key = intermediate.key
rand_serial = yes
default_md = sha256
default_crl_days = 30
policy = any
[any]
commonName = supplied
END
export OPENSSL_CONF="$PWD/openssl.cnf" USAGE=serverAuth SAN=DNS:localhost
LOCAL=DNS:localhost,IP:127.0.0.1,IP:::1 EC="ec -pkeyopt ec_paramgen_curve:P-256"

# request NAME CN, then options: its key is $key's
key=$EC
request() {
  name=$1 cn=$2
  shift 2
  openssl req -new -newkey $key -nodes -keyout "$name.key" -section request -subj "/CN=$cn" "$@"
}
authority() {
  request "$1" "the $1" -x509 -days 30 -extensions "$2" -out "$1.pem" ${3:+$(by "$3")}
}
by() { echo "-CA $1.pem -CAkey $1.key"; }

# leaf NAME CN ISSUER SAN: the issuer's own certificate is sent along, unless it is a root's; no issuer: its own
leaf() {
  SAN=$4
  request "$1" "$2" -x509 -days 20 -extensions "$(if [ "$4" ]; then echo named; else echo leaf; fi)" -out "$1.leaf" \
    ${digest:+-$digest} ${3:+$(by "$3")}
  case $3 in
    intermediate | narrow | server) cat "$1.leaf" "$3.pem" >"$1.pem" ;;
    *) cp "$1.leaf" "$1.pem" ;;
  esac
}

# dated NAME FROM TO
dated() {
  SAN=$LOCAL
  request "$1" "$1" -out "$1.csr"
  openssl ca -batch -name books_intermediate -in "$1.csr" -extensions named -startdate "$2" -enddate "$3" -notext \
    -out "$1.leaf"
  cat "$1.leaf" intermediate.pem >"$1.pem"
}

authority root root
authority stranger root
authority intermediate root root
authority narrow narrow root
: >root.books
: >intermediate.books

leaf server localhost intermediate $LOCAL
leaf other other intermediate $LOCAL
openssl x509 -in other.leaf -outform DER -out other.der
leaf a a.example intermediate DNS:a.example
leaf b b.example intermediate DNS:b.example
leaf wildcard wildcard intermediate 'DNS:*.b.example'
leaf partial partial intermediate 'DNS:w*.b.example'
leaf wrong_host www.example.org intermediate DNS:www.example.org,DNS:example.org
leaf many_names many_names intermediate \
  'DNS:localhost,email:ada@example.org,URI:http://example.org/,RID:1.2.3.4,dirName:person,otherName:1.2.3.4;UTF8:other'
leaf ip ip intermediate IP:127.0.0.1
leaf ip_as_name ip_as_name intermediate DNS:127.0.0.1
leaf no_san localhost intermediate ""
leaf revoked revoked intermediate $LOCAL
leaf untrusted untrusted stranger $LOCAL
leaf self_signed self_signed "" $LOCAL
leaf constrained constrained narrow $LOCAL
leaf no_authority no_authority server $LOCAL
dated expired 20200101000000Z 20200201000000Z
dated not_yet 20900101000000Z 20900201000000Z
(digest=sha1 && leaf sha1 sha1 intermediate $LOCAL)
(key=rsa:2048 && leaf rsa rsa intermediate $LOCAL)
(key=rsa:1024 && leaf rsa1024 rsa1024 intermediate $LOCAL)
(
  USAGE=clientAuth
  leaf client "Ada Lovelace" intermediate email:ada@example.org
  leaf client_only client_only intermediate $LOCAL
  leaf stray Eve stranger email:eve@example.org
)

# Sent with its root, which is nobody's; signed by one that has too many authorities above it; with bytes of another's
# signature; with an extension that must not be ignored.
cat untrusted.leaf stranger.pem >strange_root.pem
cp untrusted.key strange_root.key
authority shallow shallow root
authority deep shallow shallow
leaf too_deep too_deep deep $LOCAL
cat too_deep.leaf deep.pem shallow.pem >too_deep.pem
head -c -20 other.der >forged.der
head -c 20 /dev/zero >>forged.der
openssl x509 -inform DER -in forged.der -out forged.leaf
cat forged.leaf intermediate.pem >forged.pem
cp other.key forged.key
request strange strange -x509 -days 20 -extensions strange -out strange.leaf $(by intermediate)
cat strange.leaf intermediate.pem >strange.pem

openssl ec -aes128 -passout pass:sesame -in server.key -out locked.key
openssl ca -name books_intermediate -revoke revoked.leaf
openssl ca -name books_root -gencrl -out root.crl
openssl ca -name books_intermediate -gencrl -out intermediate.crl
openssl ca -name books_intermediate -gencrl -crl_lastupdate 20200101000000Z -crl_nextupdate 20200201000000Z -out old.crl
openssl ca -name books_intermediate -gencrl -crl_lastupdate 20900101000000Z -crl_nextupdate 20900201000000Z -out new.crl
openssl crl -in intermediate.crl -outform DER -out intermediate.crl.der
head -c -20 intermediate.crl.der >forged.crl.der
head -c 20 /dev/zero >>forged.crl.der
openssl crl -inform DER -in forged.crl.der -out forged.crl
cat root.crl intermediate.crl >crl.pem
cat root.crl new.crl >new_crl.pem
cat root.crl forged.crl >forged_crl.pem
cat root.crl old.crl >old_crl.pem
cat server.key server.pem >both.pem
echo "this is no certificate" >garbage.pem
: >complete
