#!/bin/sh
# systemd as the first process of namespaces of its own, over this machine's files, which it cannot change; started by
# live_systemd.py in the network namespace of a stage: live_systemd.sh DIRECTORY CHECKOUT
# Of this machine's services none is started. /proc/sys is the network namespace's, the rest of it read-only.
set -eu
directory=$1 checkout=$2
base=$directory/machine new=$directory/machine/new

mount --make-rprivate /
mkdir "$base"
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$new"
mount -t proc proc "$new/proc"
mount -t sysfs sysfs "$new/sys"
# one hierarchy, without controllers where the machine has them elsewhere
mount -t tmpfs tmpfs "$new/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "$new/sys/fs/cgroup"
for path in run tmp var/tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$new/$path"; done
chmod 1777 "$new/tmp" "$new/var/tmp"
for device in null zero full random urandom tty; do
  touch "$new/dev/$device"
  mount --bind "/dev/$device" "$new/dev/$device"
done
mkdir "$new/dev/pts" "$new/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$new/dev/pts"
ln -s pts/ptmx "$new/dev/ptmx"
ln -s /proc/self/fd "$new/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$new/dev/shm"
ln -s null "$new/dev/console"
for path in fs kernel vm; do mount --bind -o ro "/proc/sys/$path" "$new/proc/sys/$path"; done

# only what is ours and the journal
find "$new/lib/systemd/system" "$new/etc/systemd/system" -depth -path '*.wants/*' -delete
rm -rf "$new"/lib/systemd/system-generators/*
ln -s /dev/null "$new/etc/systemd/system/systemd-journald-audit.socket"
# what etc/install does, but that the programs come from this checkout and not from an index
mkdir -p "$new/opt/anycastd" "$new/opt/checkout"
mount --bind "$checkout" "$new/opt/checkout"
chroot "$new" /usr/bin/python3 -m venv --without-pip /opt/anycastd
site=$(ls -d "$new"/opt/anycastd/lib/python3*/site-packages)
{ echo /opt/checkout; ls -d "$checkout"/.venv/lib/python3*/site-packages | sed "s|^$checkout|/opt/checkout|"; } >"$site/checkout.pth"
for program in anycastd:anycastd.cli.main exabgp:exabgp.application.main; do
  cat >"$new/opt/anycastd/bin/${program%:*}" <<END
#!/opt/anycastd/bin/python
import sys
from ${program#*:} import main
sys.exit(main())
END
  chmod 755 "$new/opt/anycastd/bin/${program%:*}"
done
(cd "$checkout" && DESTDIR="$new" etc/install >/dev/null)
chroot "$new" systemd-sysusers anycastd.conf
chroot "$new" systemd-tmpfiles --create anycastd.conf
cp -r "$directory/etc/." "$new/etc/"
chroot "$new" chown -R root:anycastd /etc/anycastd
chroot "$new" chmod 640 /etc/anycastd/anycastd.yaml /etc/anycastd/secret

mkdir "$new/old"
cd "$new"
pivot_root . old
umount -l /old
exec env -i container=stage PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --unit=live.target --log-target=journal --show-status=no
