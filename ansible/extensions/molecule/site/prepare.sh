# Runs once in the root file system of the test machines, as root. The machines themselves
# have no network, so Ansible can't fetch there what its apt module needs.
apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends python3-apt >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/*

python3 -m venv /opt/site
/opt/site/bin/pip install --quiet --disable-pip-version-check --no-index --find-links /srv/packages \
    --require-hashes --requirement /srv/requirements.txt
rm /srv/requirements.txt

useradd --system --home-dir /srv/site --shell /usr/sbin/nologin site
install --directory --owner=site --mode=0755 /srv/git
chmod --recursive u=rwX,go=rX /srv/site /srv/packages

# A certificate for the TLS port of Redis, signed by an authority of its own.
mkdir /srv/site/tls
cd /srv/site/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 7300 -subj '/CN=Site authority' \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout authority.key -out authority.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout redis.key -out redis.csr
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n' >extensions
openssl x509 -req -in redis.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 7300 -extfile extensions \
    -out redis.pem
chown --recursive site: /srv/site/tls

rm /srv/prepare.sh
