"""Names that C, C++ and their libraries already use; no model is called like one of them.

Found by compiling `namespace NAME {}` behind every C and POSIX header, and the names of headers themselves, plus the
keywords and what newlib, FreeRTOS and Windows add. tests/unit/test_naming.py asks the compiler at hand again.
"""

from __future__ import annotations

RESERVED_NAMES = frozenset(
    """
a64l abi abort abs acc_prof accctrl accept accept4 access acct aclapi aclui acos acosf acosf128 acosf32 acosf32x acosf64
acosf64x acosh acoshf acoshf128 acoshf32 acoshf32x acoshf64 acoshf64x acoshl acosl activation activaut activdbg activdbg100
activecf activeds activprof activscp adc adcintrin addmntent addrinfo addseverity adhoc adjtime admex adoctint adodef adogpool
adogpool_backcompat adoguids adoid adoint adoint_backcompat adojet adomd adptif adsdb adserr adshlp adsiid adsnms adsprop
adssts adtgen advpub adxintrin af_irda afunix afxres agent agtctl agterr agtsvr aio aio_cancel aio_cancel64 aio_error
aio_error64 aio_fsync aio_fsync64 aio_init aio_read aio_read64 aio_return aio_return64 aio_suspend aio_suspend64 aio_write
aio_write64 aiocb aiocb64 aioinit alarm alg aliases alignas aligned_alloc alignof alink alloca alphasort alphasort64 altivec
amaudio ammintrin amo amstream amvideo amxavx512intrin amxbf16intrin amxcomplexintrin amxfp16intrin amxfp8intrin amxint8intrin
amxintrin amxmovrsintrin amxtf32intrin amxtileintrin and and_eq andes_vector apdevpkey apiset apisetcconv app_main appmgmt
appmodel aqadmtyp ar arc4random arc4random_buf arc4random_uniform argp argp_child argp_err_exit_status argp_error argp_failure
argp_help argp_option argp_parse argp_program_bug_address argp_program_version argp_program_version_hook argp_state
argp_state_help argp_usage argz arm arm64intr arm_acle arm_bf16 arm_cde arm_cmse arm_fp16 arm_mve arm_neon arm_neon_sve_bridge
arm_sme arm_sve arm_vector_types armintr asctime asctime_r asin asinf asinf128 asinf32 asinf32x asinf64 asinf64x asinh asinhf
asinhf128 asinhf32 asinhf32x asinhf64 asinhf64x asinhl asinl asm asprintf asptlb asr assert assertions asyncinfo at_quick_exit
atacct atalkwsh atan atan2 atan2f atan2f128 atan2f32 atan2f32x atan2f64 atan2f64x atan2l atanf atanf128 atanf32 atanf32x
atanf64 atanf64x atanh atanhf atanhf128 atanhf32 atanhf32x atanhf64 atanhf64x atanhl atanl atexit atof atoi atol atoll atomic
atomic_wide_counter atsmedia audevcod audioapotypes audioclient audioendpoints audioengineendpoint audiopolicy
audiosessiontypes austream authif authz auto aux aux_ulib avifmt aviriff avrfsdk avrt avx10_2_512bf16intrin
avx10_2_512convertintrin avx10_2_512minmaxintrin avx10_2_512niintrin avx10_2_512satcvtdsintrin avx10_2_512satcvtintrin
avx10_2bf16intrin avx10_2convertintrin avx10_2copyintrin avx10_2minmaxintrin avx10_2niintrin avx10_2satcvtdsintrin
avx10_2satcvtintrin avx2intrin avx5124fmapsintrin avx5124vnniwintrin avx512bf16intrin avx512bf16vlintrin avx512bitalgintrin
avx512bwintrin avx512cdintrin avx512dqintrin avx512erintrin avx512fintrin avx512fp16intrin avx512fp16vlintrin avx512ifmaintrin
avx512ifmavlintrin avx512pfintrin avx512vbmi2intrin avx512vbmi2vlintrin avx512vbmiintrin avx512vbmivlintrin avx512vlbf16intrin
avx512vlbitalgintrin avx512vlbwintrin avx512vlcdintrin avx512vldqintrin avx512vlfp16intrin avx512vlintrin avx512vlvbmi2intrin
avx512vlvnniintrin avx512vlvp2intersectintrin avx512vnniintrin avx512vnnivlintrin avx512vp2intersectintrin
avx512vp2intersectvlintrin avx512vpopcntdqintrin avx512vpopcntdqvlintrin avxifmaintrin avxintrin avxneconvertintrin
avxvnniint16intrin avxvnniint8intrin avxvnniintrin axextendenums azroles b64_ntop b64_pton backtrace backtrace_symbols
backtrace_symbols_fd basename basetsd basetyps batclass bcmp bcopy bcrypt bdaiface bdaiface_enums bdamedia bdatypes bemapiset
ber bh bidispl bind bindresvport bindresvport6 bitand bitor bits bits1_5 bits2_0 bits2_5 bits3_0 bits5_0 bitscfg bitsmsg
bitsperlong bitstring blberr blf bluetoothapis bluetoothleapis bm bmi2intrin bmiintrin bmmintrin bool break brk bsd_auth
bsearch bthdef bthledef bthsdpdef btowc bugcodes builtins byteswap bzero bzlib c16rtomb c32rtomb c8rtomb call_once callobj
calloc canonicalize canonicalize_file_name canonicalizef canonicalizef128 canonicalizef32 canonicalizef32x canonicalizef64
canonicalizef64x canonicalizel cardmod case casetup catch catclose catgets catopen cbrt cbrtf cbrtf128 cbrtf32 cbrtf32x
cbrtf64 cbrtf64x cbrtl cchannel cdbr cdbw cdefs cderr cdoex cdoexerr cdoexm cdoexstr cdonts cdosys cdosyserr cdosysstr ceil
ceilf ceilf128 ceilf32 ceilf32x ceilf64 ceilf64x ceill celib cert_t_oid cert_t_pgp cert_t_pkix cert_t_spki cert_t_url certadm
certbase certbcli certcli certenc certenroll certexit certif certmod certpol certreqd certsrv certview cet cetintrin cfg
cfgetispeed cfgetospeed cfgmgr32 cfmakeraw cfsetispeed cfsetospeed cfsetspeed cguid chanmgr char chdir chmod chown chroot
cierror cjson class cldemoteintrin clearenv clearerr clearerr_unlocked clflushoptintrin clfs clfsmgmt clfsmgmtw32 clfsw32
clock clock_adjtime clock_getcpuclockid clock_getres clock_gettime clock_nanosleep clock_settime clone close close_range
closedir closefrom closelog cluadmex clusapi cluscfgguids cluscfgserver cluscfgwizard clwbintrin clzerointrin cmdtree cmnquery
cmpccxaddintrin cmsghdr cnd_broadcast cnd_destroy cnd_init cnd_signal cnd_timedwait cnd_wait codecapi colordlg com1 com2 com3
com4 com5 com6 com7 com8 com9 comadmin combaseapi comcat comdef comdefsp comip comlite commapi commctrl commdlg commoncontrols
compl complex compobj compressapi compstui computecore computedefs computenetwork computestorage comsvcs comutil con concept
concept_check concurrencysal confname confpriv confstr conio connect consoleapi consoleapi2 consoleapi3 const consteval
constexpr constinit continue control copy_file_range copyfile copysign copysignf copysignf128 copysignf32 copysignf32x
copysignf64 copysignf64x copysignl cor corecrt corecrt_memory corecrt_startup corecrt_stdio_config corecrt_wconio
corecrt_wctype corecrt_wstdlib corerror corhdr correg cos cosf cosf128 cosf32 cosf32x cosf64 cosf64x cosh coshf coshf128
coshf32 coshf32x coshf64 coshf64x coshl cosl cpio cpl cplext cpp_type_traits cpu_defines cpuid crc32intrin creat creat64
credentialprovider credssp crt_externs crtdbg crtdefs crypt crypt_checksalt crypt_data crypt_gensalt crypt_gensalt_r
crypt_gensalt_ra crypt_gensalt_rn crypt_preferred_method crypt_r crypt_ra crypt_rn cryptuiapi cryptxml cscapi cscobj ctermid
ctfutb ctime ctime_r ctxtcall ctype curses cursesapp cursesf cursesm cursesp cursesw cursslk cuserid custcntl d2d1 d2d1_1
d2d1_1helper d2d1_2 d2d1_2helper d2d1_3 d2d1_3helper d2d1effectauthor d2d1effecthelpers d2d1effects d2d1effects_1
d2d1effects_2 d2d1helper d2d1svg d2dbasetypes d2derr d3d d3d10 d3d10_1 d3d10_1shader d3d10effect d3d10misc d3d10sdklayers
d3d10shader d3d11 d3d11_1 d3d11_2 d3d11_3 d3d11_4 d3d11on12 d3d11sdklayers d3d11shader d3d12 d3d12sdklayers d3d12shader
d3d12video d3d8 d3d8caps d3d8types d3d9 d3d9caps d3d9types d3dcaps d3dcommon d3dcompiler d3dhal d3drm d3drmdef d3drmobj
d3dtypes d3dx9 d3dx9anim d3dx9core d3dx9effect d3dx9math d3dx9mesh d3dx9shader d3dx9shape d3dx9tex d3dx9xof daddl daemon
daogetrw datapath datetimeapi davclnt daylight db dbdaoerr dbdaoid dbdaoint dbgautoattach dbgeng dbghelp dbgprop dbt dciddi
dciman dcommon dcomp dcompanimation dcomptypes dde ddeml ddivl ddraw ddrawgdi ddrawi ddstream debug debugapi decltype default
delayimp delayloadhandler delete devguid devicetopology devioctl devpkey devpropdef dfmal dhcpcsdk dhcpsapi dhcpssdk
dhcpv6csdk dhtmldid dhtmled dhtmliid difftime digitalv dimm dinput dinputd dir direct directmanipulation directxmath dirent
dirent64 dirent_ext dirfd dirname diskguid disktab dismapi dispatch dispatcherqueue dispdib dispex div dl_find_object dladdr
dladdr1 dlcapi dlclose dlerror dlfcn dlgs dlinfo dlmopen dlopen dls1 dls2 dlsym dlvsym dmdls dmemmgr dmerror dmksctrl dmo
dmodshow dmoreg dmort dmplugin dmull dmusbuff dmusicc dmusicf dmusici dmusics dn_comp dn_count_labels dn_expand dn_skipname do
docobj docobjectservice documenttarget domdid dontuse dos double downloadmgr dpaddr dpapi dpfilter dplay dplay8 dplobby
dplobby8 dpnathlp dprintf drand48 drand48_data drand48_r drem dremf dreml driverspecs drmexternals dsadmin dsclient dsconf
dsdriver dsgetdc dshow dskquota dsound dsqrtl dsquery dsrole dssec dst_key dsubl dtchelp dup dup2 dup3 duplocale dvbsiparser
dvdevcod dvdif dvdmedia dvec dvobj dwmapi dwrite dwrite_1 dwrite_2 dwrite_3 dxcapi dxdiag dxerr8 dxerr9 dxfile dxgi dxgi1_2
dxgi1_3 dxgi1_4 dxgi1_5 dxgi1_6 dxgicommon dxgidebug dxgiformat dxgitype dxtmpl dxva dxva2api dxvahd dysize eaccess
eapauthenticatoractiondefine eapauthenticatortypes eaphosterror eaphostpeerconfigapis eaphostpeertypes
eapmethodauthenticatorapis eapmethodpeerapis eapmethodtypes eappapis eaptypes ecvt ecvt_r edevdefs eh ehstorapi elf elf_abi
elfdefinitions elscore else elssrvc emi emmintrin emostore emptyvc endgrent endhostent endian endianness endmntent endnetent
endnetgrent endorder endpointvolume endprotoent endpwent endrpcent endservent endusershell endutent endutxent enqcmdintrin
entry enum environ environments envz epoll epoll_create epoll_create1 epoll_ctl epoll_data epoll_event epoll_pwait
epoll_pwait2 epoll_wait erand48 erand48_r erf erfc erfcf erfcf128 erfcf32 erfcf32x erfcf64 erfcf64x erfcl erff erff128 erff32
erff32x erff64 erff64x erfl err errhandlingapi errno error error_at_line error_message_count error_one_per_line
error_print_progname errorrep errors errx esent eti etip euidaccess evcode evcoll event_groups eventsys evntcons evntprov
evntrace evr evr9 exception_defines exchform excpt exdisp exdispid execinfo execl execle execlp execv execve execveat execvp
execvpe exit exit_status exp exp10 exp10f exp10f128 exp10f32 exp10f32x exp10f64 exp10f64x exp10l exp2 exp2f exp2f128 exp2f32
exp2f32x exp2f64 exp2f64x exp2l expandedresources expat expat_config expat_external expf expf128 expf32 expf32x expf64 expf64x
expl explicit explicit_bzero expm1 expm1f expm1f128 expm1f32 expm1f32x expm1f64 expm1f64x expm1l export extern exterr
f16cintrin f32addf128 f32addf32x f32addf64 f32addf64x f32divf128 f32divf32x f32divf64 f32divf64x f32fmaf128 f32fmaf32x
f32fmaf64 f32fmaf64x f32mulf128 f32mulf32x f32mulf64 f32mulf64x f32sqrtf128 f32sqrtf32x f32sqrtf64 f32sqrtf64x f32subf128
f32subf32x f32subf64 f32subf64x f32xaddf128 f32xaddf64 f32xaddf64x f32xdivf128 f32xdivf64 f32xdivf64x f32xfmaf128 f32xfmaf64
f32xfmaf64x f32xmulf128 f32xmulf64 f32xmulf64x f32xsqrtf128 f32xsqrtf64 f32xsqrtf64x f32xsubf128 f32xsubf64 f32xsubf64x
f64addf128 f64addf64x f64divf128 f64divf64x f64fmaf128 f64fmaf64x f64mulf128 f64mulf64x f64sqrtf128 f64sqrtf64x f64subf128
f64subf64x f64xaddf128 f64xdivf128 f64xfmaf128 f64xmulf128 f64xsqrtf128 f64xsubf128 f_owner_ex fabs fabsf fabsf128 fabsf32
fabsf32x fabsf64 fabsf64x fabsl faccessat fadd faddl falloc fallocate fallocate64 false fchdir fchmod fchmodat fchown fchownat
fci fclose fcloseall fcntl fcntl64 fcvt fcvt_r fd_mask fd_set fdatasync fdi fdim fdimf fdimf128 fdimf32 fdimf32x fdimf64
fdimf64x fdiml fdiv fdivl fdopen fdopendir features feclearexcept fedisableexcept feenableexcept fegetenv fegetexcept
fegetexceptflag fegetmode fegetround feholdexcept fenv feof feof_unlocked feraiseexcept ferror ferror_unlocked fesetenv
fesetexcept fesetexceptflag fesetmode fesetround fetestexcept fetestexceptflag feupdateenv fexecve ffi ffitarget fflush
fflush_unlocked ffma ffmal ffs ffsl ffsll fgetc fgetc_unlocked fgetgrent fgetgrent_r fgetpos fgetpos64 fgetpwent fgetpwent_r
fgets fgets_unlocked fgetwc fgetwc_unlocked fgetws fgetws_unlocked fibersapi file file_handle fileapi fileextd filehc fileno
fileno_unlocked filter filterr final finite finitef finitel float floatingpoint floatn flock flock64 flockfile floor floorf
floorf128 floorf32 floorf32x floorf64 floorf64x floorl fls flsl flsll fltdefs fltuser fltuserstructures fltwinerror fma
fma4intrin fmaf fmaf128 fmaf32 fmaf32x fmaf64 fmaf64x fmaintrin fmal fmax fmaxf fmaxf128 fmaxf32 fmaxf32x fmaxf64 fmaxf64x
fmaximum fmaximum_mag fmaximum_mag_num fmaximum_mag_numf fmaximum_mag_numf128 fmaximum_mag_numf32 fmaximum_mag_numf32x
fmaximum_mag_numf64 fmaximum_mag_numf64x fmaximum_mag_numl fmaximum_magf fmaximum_magf128 fmaximum_magf32 fmaximum_magf32x
fmaximum_magf64 fmaximum_magf64x fmaximum_magl fmaximum_num fmaximum_numf fmaximum_numf128 fmaximum_numf32 fmaximum_numf32x
fmaximum_numf64 fmaximum_numf64x fmaximum_numl fmaximumf fmaximumf128 fmaximumf32 fmaximumf32x fmaximumf64 fmaximumf64x
fmaximuml fmaxl fmaxmag fmaxmagf fmaxmagf128 fmaxmagf32 fmaxmagf32x fmaxmagf64 fmaxmagf64x fmaxmagl fmemopen fmin fminf
fminf128 fminf32 fminf32x fminf64 fminf64x fminimum fminimum_mag fminimum_mag_num fminimum_mag_numf fminimum_mag_numf128
fminimum_mag_numf32 fminimum_mag_numf32x fminimum_mag_numf64 fminimum_mag_numf64x fminimum_mag_numl fminimum_magf
fminimum_magf128 fminimum_magf32 fminimum_magf32x fminimum_magf64 fminimum_magf64x fminimum_magl fminimum_num fminimum_numf
fminimum_numf128 fminimum_numf32 fminimum_numf32x fminimum_numf64 fminimum_numf64x fminimum_numl fminimumf fminimumf128
fminimumf32 fminimumf32x fminimumf64 fminimumf64x fminimuml fminl fminmag fminmagf fminmagf128 fminmagf32 fminmagf32x
fminmagf64 fminmagf64x fminmagl fmod fmodf fmodf128 fmodf32 fmodf32x fmodf64 fmodf64x fmodl fmtmsg fmul fmull fnmatch fontsub
fopen fopen64 fopencookie for fork forkpty form fp_nquery fp_query fp_resstat fpathconf fpclassify fpieee fpregdef fprintf
fpu_control fputc fputc_unlocked fputs fputs_unlocked fputwc fputwc_unlocked fputws fputws_unlocked frame fread fread_unlocked
free freeaddrinfo freeifaddrs freelocale freertos freopen freopen64 frexp frexpf frexpf128 frexpf32 frexpf32x frexpf64
frexpf64x frexpl friend fromfp fromfpf fromfpf128 fromfpf32 fromfpf32x fromfpf64 fromfpf64x fromfpl fromfpx fromfpxf
fromfpxf128 fromfpxf32 fromfpxf32x fromfpxf64 fromfpxf64x fromfpxl fscanf fseek fseeko fseeko64 fsetpos fsetpos64 fsqrt fsqrtl
fsrm fsrmenums fsrmerr fsrmpipeline fsrmquota fsrmreports fsrmscreen fstab fstat fstat64 fstatat fstatat64 fstatvfs fstatvfs64
fsub fsubl fsync ftell ftello ftello64 ftok ftruncate ftruncate64 ftrylockfile fts fts64_children fts64_close fts64_open
fts64_read fts64_set fts_children fts_close fts_compat fts_open fts_read fts_set ftsiface ftw ftw64 functexcept
functiondiscoveryapi functiondiscoverycategories functiondiscoveryconstraints functiondiscoverykeys
functiondiscoverykeys_devpkey functiondiscoverynotification funlockfile funopen fusion futimens futimes futimesat fvec fwide
fwpmtypes fwpmu fwprintf fwptypes fwrite fwrite_unlocked fwscanf fxsrintrin gai_cancel gai_error gai_strerror gai_suspend
gaicb gamma gammaf gammal gb18030 gconv gcov gcrypt gcvt gdiplus gelf get_avphys_pages get_current_dir_name get_nprocs
get_nprocs_conf get_phys_pages getaddrinfo getaddrinfo_a getc getc_unlocked getchar getchar_unlocked getcpu getcwd getdate
getdate_err getdate_r getdelim getdents64 getdirentries getdirentries64 getdomainname getdtablesize getegid getentropy getenv
geteuid getgid getgrent getgrent_r getgrgid getgrgid_r getgrnam getgrnam_r getgrouplist getgroups gethostbyaddr
gethostbyaddr_r gethostbyname gethostbyname2 gethostbyname2_r gethostbyname_r gethostent gethostent_r gethostid gethostname
gethostuuid getifaddrs getipv4sourcefilter getitimer getline getloadavg getlogin getlogin_r getmntent getmntent_r getnameinfo
getnetbyaddr getnetbyaddr_r getnetbyname getnetbyname_r getnetent getnetent_r getnetgrent getnetgrent_r getopt getopt_core
getopt_ext getopt_long getopt_long_only getopt_posix getpagesize getpass getpayload getpayloadf getpayloadf128 getpayloadf32
getpayloadf32x getpayloadf64 getpayloadf64x getpayloadl getpeername getpgid getpgrp getpid getppid getpriority getprogname
getprotobyname getprotobyname_r getprotobynumber getprotobynumber_r getprotoent getprotoent_r getpt getpw getpwent getpwent_r
getpwnam getpwnam_r getpwuid getpwuid_r getrandom getresgid getresuid getrlimit getrlimit64 getrpcbyname getrpcbyname_r
getrpcbynumber getrpcbynumber_r getrpcent getrpcent_r getrusage getservbyname getservbyname_r getservbyport getservbyport_r
getservent getservent_r getsid getsockname getsockopt getsourcefilter getsubopt gettid gettimeofday getuid getumask
getusershell getutent getutent_r getutid getutid_r getutline getutline_r getutmp getutmpx getutxent getutxid getutxline getw
getwc getwc_unlocked getwchar getwchar_unlocked getwd gfniintrin glob glob64 glob_pattern_p globfree globfree64 gmp gmpxx
gmtime gmtime_r gnumake goto gpedit gpgrt gpio gpmgmt grantpt group group_filter group_member group_req group_source_req grp
gshadow gsignal guiddef h323priv h_addr h_errno handleapi hasmntopt hcreate hcreate_r hdestroy hdestroy_r heapapi
heaptrack_api herror hesiod hexagon_circ_brev_intrinsics hexagon_protos hexagon_types hidclass hidpi hidsdi hidusage
highlevelmonitorconfigurationapi hlguids hliface hlink hostalias hostent hostinfo hresetintrin hsearch hsearch_data hsearch_r
hstrerror hstring htiface htiframe htmintrin htmlguid htmlhelp htmxlintrin htonl htons http httpext httpfilt httprequest
httprequestid hvsocket hvx_hexagon_protos hypot hypotf hypotf128 hypotf32 hypotf32x hypotf64 hypotf64x hypotl i386
i_cryptasn1tls ia32intrin ia64reg iaccess iadmext iadmw iads icdb icftypes icm icmpapi icodecapi iconv iconv_close iconv_open
icrsint identitycommon identitystore idf idispids idn2 iedial ieee754 ieeefp ieverp if if_freenameindex if_indextoname
if_nameindex if_nametoindex ifa_broadaddr ifa_dstaddr iface ifaddr ifaddrs ifc_buf ifc_req ifconf ifdef ifmap ifr_addr
ifr_bandwidth ifr_broadaddr ifr_data ifr_dstaddr ifr_flags ifr_hwaddr ifr_ifindex ifr_map ifr_metric ifr_mtu ifr_name
ifr_netmask ifr_newname ifr_qlen ifr_slave ifreq iiis iiisext iimgctx iiscnfg iisrsta iketypes ilogb ilogbf ilogbf128 ilogbf32
ilogbf32x ilogbf64 ilogbf64x ilogbl imagehlp imaxabs imaxdiv ime imessage imm immintrin import imsg in in6_addr in6_pktinfo
in6addr in6addr_any in6addr_loopback in_addr in_pktinfo inaddr index indexsrv inet inet6_opt_append inet6_opt_find
inet6_opt_finish inet6_opt_get_val inet6_opt_init inet6_opt_next inet6_opt_set_val inet6_option_alloc inet6_option_append
inet6_option_find inet6_option_init inet6_option_next inet6_option_space inet6_rth_add inet6_rth_getaddr inet6_rth_init
inet6_rth_reverse inet6_rth_segments inet6_rth_space inet_addr inet_aton inet_lnaof inet_makeaddr inet_net_ntop inet_net_pton
inet_neta inet_netof inet_network inet_nsap_addr inet_nsap_ntoa inet_ntoa inet_ntop inet_pton inetreg inetsdk infstr
initgroups initguid initoid initstate initstate_r inline innetgr inputpaneinterop inputscope inspectable insque int
interactioncontext interlockedapi intrin intrin0 intsafe intshcut inttypes invkprxy invpcidintrin io ioapiset ioctl ioctls
ioevent ioringapi iovec ip6_mtuinfo ip_mreq ip_mreq_source ip_mreqn ip_msfilter ip_opts ipc ipc_perm ipctypes ipexport
iphlpapi ipifcons ipinfoid ipmib ipmsp iprtrmib ipsectypes iptypes ipv6_mreq ipxconst ipxrip ipxrtdef ipxsap ipxtfflt iruserok
iruserok_af isalnum isalnum_l isalpha isalpha_l isascii isatty isblank isblank_l iscanonical iscntrl iscntrl_l iscsidsc
isctype isdigit isdigit_l iseqsig isfdtype isfinite isgraph isgraph_l isgreater isgreaterequal isguids isinf isinff isinfl
isless islessequal islessgreater islower islower_l isnan isnanf isnanl isnormal iso646 isprint isprint_l ispunct ispunct_l
issetugid issignaling isspace isspace_l issper16 issperr isunordered isupper isupper_l iswalnum iswalnum_l iswalpha iswalpha_l
iswblank iswblank_l iswcntrl iswcntrl_l iswctype iswctype_l iswdigit iswdigit_l iswgraph iswgraph_l iswlower iswlower_l
iswprint iswprint_l iswpunct iswpunct_l iswspace iswspace_l iswupper iswupper_l iswxdigit iswxdigit_l isxdigit isxdigit_l
isysmon iszero itimerspec itimerval itoa ivec iwamreg iwscapi j0 j0f j0f128 j0f32 j0f32x j0f64 j0f64x j0l j1 j1f j1f128 j1f32
j1f32x j1f64 j1f64x j1l jconfig jerror jmorecfg jmp_buf jn jnf jnf128 jnf32 jnf32x jnf64 jnf64x jnl jobapi joystickapi jpegint
jpeglib jrand48 jrand48_r kcom kenv kernel keylockerintrin kill killpg knownfolders ks ksdebug ksguid ksmedia ksproxy ksuuids
ktmtypes ktmw32 kvm kxia64 l2cmn l64a labs langinfo larchintrin lastlog lasxintrin launch lauxlib lchmod lchown lcong48
lcong48_r lconv ldexp ldexpf ldexpf128 ldexpf32 ldexpf32x ldexpf64 ldexpf64x ldexpl ldiv leaf lfind lgamma lgamma_r lgammaf
lgammaf128 lgammaf128_r lgammaf32 lgammaf32_r lgammaf32x lgammaf32x_r lgammaf64 lgammaf64_r lgammaf64x lgammaf64x_r lgammaf_r
lgammal lgammal_r libelf libgen libintl libloaderapi libloaderapi2 libproc libsys libtasn1 libutil limits linger link
link_aout link_elf link_map linkat linker_set linux lio_listio lio_listio64 listen llabs lldiv llogb llogbf llogbf128 llogbf32
llogbf32x llogbf64 llogbf64x llogbl llrint llrintf llrintf128 llrintf32 llrintf32x llrintf64 llrintf64x llrintl llround
llroundf llroundf128 llroundf32 llroundf32x llroundf64 llroundf64x llroundl lm lmaccess lmalert lmapibuf lmat lmaudit lmconfig
lmcons lmdfs lmerr lmerrlog lmjoin lmmsg lmon lmremutl lmrepl lmserver lmshare lmsname lmstats lmsvc lmuse lmuseflg lmwksta
loadperf loc_aton loc_ntoa local_lim locale localeconv localtime localtime_r locationapi lockf lockf64 log log10 log10f
log10f128 log10f32 log10f32x log10f64 log10f64x log10l log1p log1pf log1pf128 log1pf32 log1pf32x log1pf64 log1pf64x log1pl
log2 log2f log2f128 log2f32 log2f32x log2f64 log2f64x log2l logb logbf logbf128 logbf32 logbf32x logbf64 logbf64x logbl logf
logf128 logf32 logf32x logf64 logf64x login login_cap login_tty logl logout logwtmp long longjmp
lowlevelmonitorconfigurationapi lpmapi lpt1 lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 lrand48 lrand48_r lrint lrintf lrintf128
lrintf32 lrintf32x lrintf64 lrintf64x lrintl lround lroundf lroundf128 lroundf32 lroundf32x lroundf64 lroundf64x lroundl
lsearch lseek lseek64 lstat lstat64 lsxintrin ltoa lua luaconf lualib lutimes lwp lwpintrin lzcntintrin lzexpand lzma madcapcl
madvise magic magnification mailmsgprops main mallinfo mallinfo2 malloc malloc_info malloc_np malloc_stats malloc_trim
malloc_usable_size mallopt manipulations mapi mapiaux mapicode mapidbg mapidefs mapiform mapiguid mapihook mapinls mapioid
mapispi mapitags mapiutil mapival mapiwin mapiwz mapix math math_errhandling mathcalls mbctype mblen mbrlen mbrtoc16 mbrtoc32
mbrtoc8 mbrtowc mbsinit mbsnrtowcs mbsrtowcs mbstowcs mbstring mbtowc mcheck mciapi mciavi mcx md2 md4 md5 mdcommsg mddefw
mdhcp mdmsg mediaerr mediaobj medparam mem memalign memccpy memchr memcmp memcpy memfd_create memfrob memmem memmove memory
memoryapi mempcpy memrchr memset menu mergemod mfapi mfcaptureengine mfd3d12 mferror mfidl mfmediacapture mfmediaengine
mfmp2dlna mfobjects mfplay mfreadwrite mftransform mgm mgmtapi mi midles mimedisp mimeinfo minappmodel mincore minmax
minwinbase minwindef mkdir mkdirat mkdtemp mkfifo mkfifoat mknod mknodat mkostemp mkostemp64 mkostemps mkostemps64 mkstemp
mkstemp64 mkstemps mkstemps64 mktemp mktime mlang mlock mlock2 mlockall mm3dnow mm_malloc mman mman_ext mmap mmap64 mmc mmcobj
mmddk mmdeviceapi mmeapi mmintrin mmiscapi mmiscapi2 mmreg mmsghdr mmstream mmsyscom mmsystem mntent mntopts mobsync modf
modff modff128 modff32 modff32x modff64 modff64x modfl module monetary moniker movdirintrin move movrs_avx10_2_512intrin
movrs_avx10_2intrin movrsintrin mpeg2bits mpeg2data mpeg2psiparser mpeg2structs mpool mprapi mprerror mprotect mq mq_attr
mq_close mq_getattr mq_notify mq_open mq_receive mq_send mq_setattr mq_timedreceive mq_timedsend mq_unlink mqmail mqoai mqueue
mrand48 mrand48_r mremap msa msacm msacmdlg msado15 msasn1 msber mscat mschapp msclus mscoree msctf msctfmonitorapi msdadc
msdaguid msdaipp msdaipper msdaora msdaosp msdasc msdasql msdatsrc msdrm msdrmdefs msdshape msfs msg msgbuf msgctl msgget
msghdr msginfo msgrcv msgsnd mshtmcid mshtmdid mshtmhst mshtml mshtmlc msi msidefs msimcntl msimcsdk msinkaut msiquery msoav
msoledbsql msopc msp mspab mspaddr mspbase mspcall mspcoll mspenum msplog mspst mspstrm mspterm mspthrd msptrmac msptrmar
msptrmvc msputils msq msqid_ds msrdc msremote mssip msstkppg mstask mstcpip msterr mswsock msxml msxml2 msxml2did msxml6
msxml6did msxmldid msync mtsadmin mtsevents mtsgrp mtx mtx_destroy mtx_init mtx_lock mtx_plain mtx_recursive mtx_timed
mtx_timedlock mtx_trylock mtx_unlock mtxadmin mtxattr mtxdm muiload multimon multinfo munlock munlockall munmap mutable
mwaitintrin mwaitxintrin mxdc name_to_handle_at namedpipeapi nameser nameser_compat namespace namespaceapi nan nanf nanf128
nanf32 nanf32x nanf64 nanf64x nanl nanosleep napcertrelyingparty napcommon napenforcementclient napmanagement
napmicrosoftvendorids napprotocol napservermanagement napsystemhealthagent napsystemhealthvalidator naptypes naputil nb30
nc_tparm ncrypt ncurses ncurses_dll ndattrib ndbm ndfapi ndhelper ndkinfo ndr64types ndrtypes nearbyint nearbyintf
nearbyintf128 nearbyintf32 nearbyintf32x nearbyintf64 nearbyintf64x nearbyintl netcfgn netcfgx netcon netconfig netdb netent
neterr netevent netfw netgroup netioapi netlistmgr netmon netprov nettypes new newapis newdev newlib newlocale nextafter
nextafterf nextafterf128 nextafterf32 nextafterf32x nextafterf64 nextafterf64x nextafterl nextdown nextdownf nextdownf128
nextdownf32 nextdownf32x nextdownf64 nextdownf64x nextdownl nexttoward nexttowardf nexttowardl nextup nextupf nextupf128
nextupf32 nextupf32x nextupf64 nextupf64x nextupl nftw nftw64 nice nl_catd nl_item nl_langinfo nl_langinfo_l nl_types nldef
nlist nmmintrin nmsupp no_argument noexcept not not_eq npapi nrand48 nrand48_r ns_c_2 ns_c_any ns_c_chaos ns_c_hs ns_c_in
ns_c_invalid ns_c_max ns_c_none ns_cert_types ns_class ns_datetosecs ns_f_aa ns_f_ad ns_f_cd ns_f_max ns_f_opcode ns_f_qr
ns_f_ra ns_f_rcode ns_f_rd ns_f_tc ns_f_z ns_flag ns_format_ttl ns_get16 ns_get32 ns_initparse ns_makecanon ns_msg
ns_msg_getflag ns_name_compress ns_name_ntol ns_name_ntop ns_name_pack ns_name_pton ns_name_rollback ns_name_skip
ns_name_uncompress ns_name_unpack ns_o_iquery ns_o_max ns_o_notify ns_o_query ns_o_status ns_o_update ns_opcode ns_parse_ttl
ns_parserr ns_put16 ns_put32 ns_r_badkey ns_r_badsig ns_r_badtime ns_r_badvers ns_r_formerr ns_r_max ns_r_noerror ns_r_notauth
ns_r_notimpl ns_r_notzone ns_r_nxdomain ns_r_nxrrset ns_r_refused ns_r_servfail ns_r_yxdomain ns_r_yxrrset ns_rcode ns_rr
ns_s_an ns_s_ar ns_s_max ns_s_ns ns_s_pr ns_s_qd ns_s_ud ns_s_zn ns_samedomain ns_samename ns_sect ns_skiprr ns_sprintrr
ns_sprintrrf ns_subdomain ns_t_a ns_t_a6 ns_t_aaaa ns_t_afsdb ns_t_any ns_t_apl ns_t_atma ns_t_avc ns_t_axfr ns_t_caa
ns_t_cdnskey ns_t_cds ns_t_cert ns_t_cname ns_t_csync ns_t_dhcid ns_t_dlv ns_t_dname ns_t_dnskey ns_t_ds ns_t_eid ns_t_eui48
ns_t_eui64 ns_t_gid ns_t_gpos ns_t_hinfo ns_t_hip ns_t_invalid ns_t_ipseckey ns_t_isdn ns_t_ixfr ns_t_key ns_t_kx ns_t_l32
ns_t_l64 ns_t_loc ns_t_lp ns_t_maila ns_t_mailb ns_t_max ns_t_mb ns_t_md ns_t_mf ns_t_mg ns_t_minfo ns_t_mr ns_t_mx ns_t_naptr
ns_t_nid ns_t_nimloc ns_t_ninfo ns_t_ns ns_t_nsap ns_t_nsap_ptr ns_t_nsec ns_t_nsec3 ns_t_nsec3param ns_t_null ns_t_nxt
ns_t_openpgpkey ns_t_opt ns_t_ptr ns_t_px ns_t_rkey ns_t_rp ns_t_rrsig ns_t_rt ns_t_sig ns_t_sink ns_t_smimea ns_t_soa
ns_t_spf ns_t_srv ns_t_sshfp ns_t_ta ns_t_talink ns_t_tkey ns_t_tlsa ns_t_tsig ns_t_txt ns_t_uid ns_t_uinfo ns_t_unspec
ns_t_uri ns_t_wks ns_t_x25 ns_tcp_tsig_state ns_tsig_key ns_type ns_uop_add ns_uop_delete ns_uop_max ns_update_operation
nsaddr nsemail nserror nspapi nss nsswitch ntdd1394 ntdd8042 ntddbeep ntddcdrm ntddcdvd ntddchgr ntdddisk ntddft ntddkbd
ntddmmc ntddmodm ntddmou ntddndis ntddpar ntddpsch ntddscsi ntddser ntddstor ntddtape ntddtdi ntddvdeo ntddvol ntdef ntdsapi
ntdsbcli ntdsbmsg ntgdi ntiologc ntioring_x ntldap ntmsapi ntmsmli ntohl ntohs ntquery ntsdexts ntsecapi ntsecpkg ntstatus
ntverp nul nullptr numeric_traits nvme oaidl objbase objectarray objerror objidl objidlbase objsafe objsel obstack
obstack_printf obstack_vprintf ocidl ocmm odbcinst odbcss ohash ole ole2 ole2ver oleacc oleauto olectl olectlid oledb oledbdep
oledberr oledbguid oledlg oleidl oletx2xa omp on_exit once_flag open open64 open_by_handle_at open_memstream open_wmemstream
openacc openat openat64 opendir openlog openpty operator opmapi optarg optary opterr optind option optional_argument optopt or
or_eq os_defines osockaddr osreldate override p2p p_cdname p_cdnname p_class p_fqname p_fqnname p_option p_query p_rcode
p_time p_type packoff packon panel param parser passwd patchapi patchwiz pathcch pathconf paths pause pbt pchannel pciprop
pclose pconfigintrin pcrt32 pdh pdhmsg penwin perflib perhist perror persist pgobootrun physicalmonitorenumerationapi pipe
pipe2 pkey_alloc pkey_free pkey_get pkey_mprotect pkey_set pkuintrin pla playsoundapi pmmintrin png pngconf pnglibconf pnrpdef
pnrpns poclass polarity poll pollfd popcntintrin popen poppack portabledevice portabledeviceapi portabledeviceconnectapi
portabledevicetypes portmacro posix1_lim posix2_lim posix_fadvise posix_fadvise64 posix_fallocate posix_fallocate64
posix_madvise posix_memalign posix_openpt posix_opt posix_spawn posix_spawn_file_actions_addchdir_np
posix_spawn_file_actions_addclose posix_spawn_file_actions_addclosefrom_np posix_spawn_file_actions_adddup2
posix_spawn_file_actions_addfchdir_np posix_spawn_file_actions_addopen posix_spawn_file_actions_addtcsetpgrp_np
posix_spawn_file_actions_destroy posix_spawn_file_actions_init posix_spawnattr_destroy posix_spawnattr_getflags
posix_spawnattr_getpgroup posix_spawnattr_getschedparam posix_spawnattr_getschedpolicy posix_spawnattr_getsigdefault
posix_spawnattr_getsigmask posix_spawnattr_init posix_spawnattr_setflags posix_spawnattr_setpgroup
posix_spawnattr_setschedparam posix_spawnattr_setschedpolicy posix_spawnattr_setsigdefault posix_spawnattr_setsigmask
posix_spawnp posix_types posix_types_64 postorder pow powerbase powersetting powf powf128 powf32 powf32x powf64 powf64x powl
powrprof ppoll pread pread64 preadv preadv2 preadv64 preadv64v2 predefined_ops preorder prfchiintrin prfchwintrin printf
private prlimit prlimit64 prn prnasnot prntfont prntvpt proc_service process process_madvise process_mrelease process_vm_readv
process_vm_writev processenv processsnapshot processthreadsapi processtopologyapi profil profile profileapi profinfo
program_invocation_name program_invocation_short_name proofofpossessioncookieinfo propidl propkey propkeydef propsys
propvarutil protected protoent prsht psapi pselect pshpack1 pshpack2 pshpack4 pshpack8 pshpck16 psiginfo psignal pstl_config
pstore pthread pthreadtypes ptr_traits ptrauth ptsname ptsname_r ptwriteintrin pty public putc putc_unlocked putchar
putchar_unlocked putenv putgrent putlong putpwent puts putshort pututline pututxline putw putwc putwc_unlocked putwchar
putwchar_unlocked pvalloc pwd pwrite pwrite64 pwritev pwritev2 pwritev64 pwritev64v2 qecvt qecvt_r qedit qelem qfcvt qfcvt_r
qgcvt qmgr qnetwork qos qos2 qosname qospol qossp qsort qsort_r quadmath quadmath_weak queue quick_exit quota radius raise
rand rand_r random random_data random_r randomid ranlib raointintrin ras rasdlg raseapif raserror rassapi rasshost ratings
rawmemchr rcmd rcmd_af rdpencomapi rdpruintrin rdseedintrin re_comp re_compile_fastmap re_compile_pattern re_match re_match_2
re_pattern_buffer re_registers re_search re_search_2 re_set_registers re_set_syntax re_syntax_options read readahead readdir
readdir64 readdir64_r readdir_r readlink readlinkat readpassphrase readv realloc reallocarray reallocf realpath realtimeapiset
reason recguids reconcil recv recvfrom recvmmsg recvmsg reent regbag regcomp regdef regerror regex regexec regexp regfree
register regstr relogger remainder remainderf remainderf128 remainderf32 remainderf32x remainderf64 remainderf64x remainderl
remap_file_pages remove remque remquo remquof remquof128 remquof32 remquof32x remquof64 remquof64x remquol rename renameat
renameat2 rend required_argument requires res_close res_dnok res_hnok res_hostalias res_init res_isourserver res_mailok
res_mkquery res_nameinquery res_nclose res_ninit res_nmkquery res_nquery res_nquerydomain res_nsearch res_nsend res_ownok
res_queriesmatch res_query res_querydomain res_randomid res_search res_send res_state res_sym res_update resapi resolv
resource restartmanager restrict return revoke rewind rewinddir rexec rexec_af richedit richole rindex rint rintf rintf128
rintf32 rintf32x rintf64 rintf64x rintl riscv riscv_bitmanip riscv_corev_alu riscv_crypto riscv_mips riscv_nds riscv_ntlh
riscv_vector rkeysvcc rlimit rlimit64 rmd160 rmdir rmt rnderr roapi robuffer round roundeven roundevenf roundevenf128
roundevenf32 roundevenf32x roundevenf64 roundevenf64x roundevenl roundf roundf128 roundf32 roundf32x roundf64 roundf64x roundl
routprot rpc rpcasync rpcdce rpcdcep rpcent rpcndr rpcnsi rpcnsip rpcnterr rpcproxy rpcsal rpcssl rpmatch rrascfg rresvport
rresvport_af rtcapi rtccore rtcerr rtinfo rtm rtmintrin rtmv2 rtutils rtworkq runetype rusage ruserok ruserok_af s390intrin
s6_addr s6_addr16 s6_addr32 sa_handler sa_sigaction sal sapi sapi51 sapi53 sapi54 sas sbe sbrk scalb scalbf scalbl scalbln
scalblnf scalblnf128 scalblnf32 scalblnf32x scalblnf64 scalblnf64x scalblnl scalbn scalbnf scalbnf128 scalbnf32 scalbnf32x
scalbnf64 scalbnf64x scalbnl scandir scandir64 scandirat scandirat64 scanf scarddat scarderr scardmgr scardsrv scardssp scesvc
schannel sched sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getcpu sched_getparam sched_getscheduler
sched_param sched_rr_get_interval sched_setaffinity sched_setparam sched_setscheduler sched_yield schedule schemadef schnlsp
scode scrnsave scrptids sddl sdkconfig sdkddkver sdoias sdpblb sdperr search secext secure_getenv security
securityappcontainer securitybaseapi seed48 seed48_r seekdir sehmap select sem sem_clockwait sem_close sem_destroy
sem_getvalue sem_init sem_open sem_post sem_timedwait sem_trywait sem_unlink sem_wait semaphore sembuf semctl semget semid_ds
seminfo semop semphr semtimedop send sendmmsg sendmsg sendto sens sensapi sensevts sensors sensorsapi serializeintrin servent
servprov setbuf setbuffer setdomainname setegid setenv seteuid setgid setgrent setgroups sethostent sethostid sethostname
setipv4sourcefilter setitimer setjmp setjmpex setlinebuf setlocale setlogin setlogmask setmntent setnetent setnetgrent setns
setpayload setpayloadf setpayloadf128 setpayloadf32 setpayloadf32x setpayloadf64 setpayloadf64x setpayloadl setpayloadsig
setpayloadsigf setpayloadsigf128 setpayloadsigf32 setpayloadsigf32x setpayloadsigf64 setpayloadsigf64x setpayloadsigl setpgid
setpgrp setpriority setprogname setprotoent setpwent setregid setresgid setresuid setreuid setrlimit setrlimit64 setrpcent
setservent setsid setsockopt setsourcefilter setstate setstate_r settimeofday setuid setupapi setusershell setutent setutxent
setvbuf sfc sgidefs sgtty sgxintrin sha1 sha2 sha512intrin shadow shaintrin shappmgr share shcore shdeprecated shdispid
shellapi shellscalingapi sherrors shfolder shldisp shlguid shlobj shlwapi shm shm_info shm_open shm_unlink shmat shmctl shmdt
shmget shmid_ds shminfo shmlba shobjidl short shtypes shutdown si_addr si_addr_lsb si_arch si_band si_call_addr si_fd si_int
si_lower si_overrun si_pid si_pkey si_ptr si_status si_stime si_syscall si_timerid si_uid si_upper si_utime si_value
sifive_vector sigabbrev_np sigaction sigaddset sigaltstack sigandset sigblock sigcontext sigdelset sigdescr_np sigemptyset
sigev_notify_attributes sigev_notify_function sigevent sigfillset siggetmask sighold sigignore siginterrupt sigisemptyset
sigismember sigjmp_buf siglongjmp signal signal_ext signbit signed signgam significand significandf significandl sigorset
sigpause sigpending sigprocmask sigqueue sigrelse sigreturn sigset sigsetmask sigstack sigstksz sigsuspend sigthread
sigtimedwait sigval sigwait sigwaitinfo simpdata simpdc sin sincos sincosf sincosf128 sincosf32 sincosf32x sincosf64
sincosf64x sincosl sinf sinf128 sinf32 sinf32x sinf64 sinf64x sinh sinhf sinhf128 sinhf32 sinhf32x sinhf64 sinhf64x sinhl sinl
sipbase siphash sisbkup sizeof sleep slerror slpublic sm3intrin sm4evexintrin sm4intrin smmintrin smpab smpms smpxp smtpguid
smx sndio snmp snprintf sockaddr sockaddr_in sockaddr_in6 sockaddr_storage sockaddr_un sockatmark socket socket_type
socketpair sockios softpub soundcard spatialaudioclient spatialaudiometadata spawn specfun special_function_util specstrings
spellcheck sperror sphelper spirvintrin splice sporder sprintf sql sql_1 sqlext sqlite3 sqlite3ext sqloledb sqltypes sqlucode
sqrt sqrtf sqrtf128 sqrtf32 sqrtf32x sqrtf64 sqrtf64x sqrtl srand srand48 srand48_r srandom srandom_r srrestoreptapi srv
ss_flags sscanf ssignal sspguid sspi sspserr sspsidl st_atime st_ctime st_mtime stab stat stat64 static static_assert
static_cast statvfs statvfs64 statx statx_timestamp sti stierr stireg stl_algobase stl_iterator stl_iterator_base_funcs
stl_iterator_base_types stl_pair stllock stm storage storduid storprop stpcpy stpncpy stralign strcasecmp strcasecmp_l
strcasestr strcat strchr strchrnul strcmp strcoll strcoll_l strcpy strcspn strdup strerror strerror_l strerror_r
strerrordesc_np strerrorname_np strfmon strfmon_l strfromd strfromf strfromf128 strfromf32 strfromf32x strfromf64 strfromf64x
strfroml strfry strftime strftime_l string stringapiset stringlist strings strlcat strlcpy strlen strlwr strmif strncasecmp
strncasecmp_l strncat strncmp strncpy strndup strnlen strnstr stropts strpbrk strptime strptime_l strrchr strsafe strsep
strsignal strspn strstr strtod strtod_l strtof strtof128 strtof128_l strtof32 strtof32_l strtof32x strtof32x_l strtof64
strtof64_l strtof64x strtof64x_l strtof_l strtoimax strtok strtok_r strtol strtol_l strtold strtold_l strtoll strtoll_l strtoq
strtoul strtoul_l strtoull strtoull_l strtoumax strtouq struct struct_iovec struct_itimerspec struct_msqid64_ds
struct_msqid_ds struct_mutex struct_osockaddr struct_rusage struct_rwlock struct_sched_param struct_semid64_ds struct_semid_ds
struct_shmid64_ds struct_shmid_ds struct_sigstack struct_stat struct_statx struct_statx_timestamp struct_timespec
struct_timeval struct_tm structuredquerycondition strupr strverscmp strxfrm strxfrm_l stubs subauth subsmgr svcguid svrapi
swab switch swprintf swscanf sym_ntop sym_ntos sym_ston symlink symlinkat sync sync_file_range syncfs synchapi syscall sysconf
sysexits sysinfo sysinfoapi syslimits syslog system systemmediatransportcontrolsinterop systemtopologyapi sysv_signal t2embapi
tabflicks tan tanf tanf128 tanf32 tanf32x tanf64 tanf64x tanh tanhf tanhf128 tanhf32 tanhf32x tanhf64 tanhf64x tanhl tanl tapi
tapi3 tapi3cc tapi3ds tapi3err tapi3if tar task taskschd tbmintrin tbs tcdrain tcerror tcflow tcflush tcgetattr tcgetpgrp
tcgetsid tcguid tchar tcp tcp_ca_state tcp_cookie_transactions tcp_info tcp_md5sig tcp_repair_opt tcp_repair_window tcp_seq
tcp_zerocopy_receive tcpestats tcphdr tcpmib tcpxcv tcsendbreak tcsetattr tcsetpgrp tdelete tdestroy tdh tdi tdiinfo tee
telldir template tempnam term term_entry termcap termio termios termmgr textserv textstor tfind tgamma tgammaf tgammaf128
tgammaf32 tgammaf32x tgammaf64 tgammaf64x tgammal tgkill tgmath this thrd_busy thrd_create thrd_current thrd_detach thrd_equal
thrd_error thrd_exit thrd_join thrd_nomem thrd_sleep thrd_success thrd_timedout thrd_yield thread_db thread_local
threadpoolapiset threadpoollegacyapiset threads throw thumbcache tib tic time time64 timeapi timeconv timegm timelocal
timeprov timer_create timer_delete timer_getoverrun timer_gettime timer_settime timers times timesize timespec timespec_get
timespec_getres timeval timex timezone timezoneapi tlbref tlhelp32 tlogstg tm tmmintrin tmpfile tmpfile64 tmpnam tmpnam_r tms
tmschema tnef toascii tolower tolower_l tom totalorder totalorderf totalorderf128 totalorderf32 totalorderf32x totalorderf64
totalorderf64x totalorderl totalordermag totalordermagf totalordermagf128 totalordermagf32 totalordermagf32x totalordermagf64
totalordermagf64x totalordermagl toupper toupper_l towctrans towctrans_l towlower towlower_l towupper towupper_l tpcshrd
traffic transact triedcid triediid triedit true trunc truncate truncate64 truncf truncf128 truncf32 truncf32x truncf64
truncf64x truncl try tsattrs tsearch tspi tss_create tss_delete tss_get tss_set tssbx tsuserex tsvirtualchannels
tsxldtrkintrin ttydefaults ttyent ttyname ttyname_r ttyslot tuner tvout twalk twalk_r txcoord txctx txdtc txfw32 type_traits
typedef typeid typeinfo typename typeof types typesizes tzfile tzname tzset u_char u_int u_long u_short ualarm uastrfnc uchar
ucontext ucred udpmib ufromfp ufromfpf ufromfpf128 ufromfpf32 ufromfpf32x ufromfpf64 ufromfpf64x ufromfpl ufromfpx ufromfpxf
ufromfpxf128 ufromfpxf32 ufromfpxf32x ufromfpxf64 ufromfpxf64x ufromfpxl uianimation uiautomation uiautomationclient
uiautomationcore uiautomationcoreapi uint uintrintrin uio uio_lim uiviewsettingsinterop ulimit ulong ultoa umask umx un uname
unctrl ungetc ungetwc union unistd unistd_ext unity unix unknown unknwn unknwnbase unlink unlinkat unlockpt unsetenv unshare
unsigned unwind updwtmp updwtmpx urlhist urlmon usb usb100 usb200 usbcamdi usbdi usbhid usbioctl usbiodef usbprint usbrpmif
usbscan usbspec usbuser uselocale userenv usermsrintrin ushort using usleep usp10 ut_addr ut_time ut_xtime util utilapiset
utility utimbuf utime utimensat utimes utmp utmpname utmpx utmpxname utoa utsname uuid uuids uxtheme va_list vadefs vaesintrin
valloc values varargs vasprintf vcr vdmdbg vdprintf vds vdslun vecintrin velintrin velintrin_approx velintrin_gen verr verrx
versionhelpers versionsort versionsort64 vfork vfprintf vfscanf vfw vfwmsgs vfwprintf vfwscanf vhangup vidcap virtdisk virtual
vis vmr9 vmsplice void volatile vpclmulqdqintrin vprintf vsadmin vsanimation vsbackup vscanf vsmgmt vsnprintf vsprintf vsprov
vss vsscanf vsserror vsstyle vssym32 vswprintf vswriter vswscanf vsyslog vwarn vwarnx vwprintf vwscanf w32api wab wabapi
wabcode wabdefs wabiab wabmem wabnot wabtags wabutil wait wait3 wait4 waitflags waitid waitpid waitpkgintrin waitstatus warn
warnx wasm_simd128 wbemads wbemcli wbemdisp wbemidl wbemprov wbemtran wbnoinvdintrin wchar wcmconfig wcpcpy wcpncpy wcrtomb
wcscasecmp wcscasecmp_l wcscat wcschr wcschrnul wcscmp wcscoll wcscoll_l wcscpy wcscspn wcsdup wcsftime wcsftime_l wcslen
wcsncasecmp wcsncasecmp_l wcsncat wcsncmp wcsncpy wcsnlen wcsnrtombs wcspbrk wcsplugin wcsrchr wcsrtombs wcsspn wcsstr wcstod
wcstod_l wcstof wcstof128 wcstof128_l wcstof32 wcstof32_l wcstof32x wcstof32x_l wcstof64 wcstof64_l wcstof64x wcstof64x_l
wcstof_l wcstoimax wcstok wcstol wcstol_l wcstold wcstold_l wcstoll wcstoll_l wcstombs wcstoq wcstoul wcstoul_l wcstoull
wcstoull_l wcstoumax wcstouq wcswcs wcswidth wcsxfrm wcsxfrm_l wct wctob wctomb wctrans wctrans_l wctype wctype_l wcwidth
wdsbp wdsclientapi wdspxe wdstci wdstpdi wdstptmgmt weakreference webauthn webservices werapi wfext while wia wia_lh wia_xp
wiadef wiadevd wiavideo winable winapifamily winbase winber wincodec wincodecsdk wincon wincontypes wincred wincrypt winddi
winddiui windef windns windot11 windows windowsnumerics windowsx winefs winerror winevt wingdi winhttp winhvemulation
winhvplatform winhvplatformdefs wininet winineti winioctl winldap winnetwk winnls winnls32 winnt winperf winreg winres
winresrc winsafer winsatcominterfacei winscard winsdkver winsize winsmcrd winsnmp winsock winsock2 winsplp winspool winstring
winsvc winsxs winsync winternl wintrust winusb winusbio winuser winver winwlx wlanapi wlanihvtypes wlantypes wmcodecdsp
wmcontainer wmdrmsdk wmemchr wmemcmp wmemcpy wmemmove wmempcpy wmemset wmiatlprov wmistr wmiutils wmmintrin wmp wmpids
wmprealestate wmpservices wmsbuffer wmsdk wmsdkidl wmsecure wnnc wordexp wordfree wordsize wow64apiset wownt16 wownt32 wpapi
wpapimsg wpcapi wpcevent wpcrsmsg wpftpmsg wppstmsg wprintf wpspihlp wptypes wpwizmsg write writev wrl ws2atm ws2bth ws2def
ws2dnet ws2ipdef ws2spi ws2tcpip wscanf wscapi wsdapi wsdattachment wsdbase wsdclient wsddisco wsdhost wsdtypes wsdutil wsdxml
wsdxmldom wshisotp wsipv6ok wsipx wslapi wsman wsmandisp wsnetbs wsnwlink wspiapi wsrm wsvns wtsapi32 wtypes wtypesbase wuapi
wuerror x3daudio x86gprintrin x86intrin xa xamlom xapo xapofx xaudio2 xaudio2fx xcmc xcmcext xcmcmsx2 xcmcmsxt xenroll xinput
xlocale xlocinfo xmath xmldomdid xmldsodid xmllite xmltrnsf xmmintrin xolehlp xopen_lim xopintrin xor xor_eq
xpsdigitalsignature xpsobjectmodel xpsobjectmodel_1 xpsprint xpsrassvc xsavecintrin xsaveintrin xsaveoptintrin xsavesintrin
xtensa xtestintrin y0 y0f y0f128 y0f32 y0f32x y0f64 y0f64x y0l y1 y1f y1f128 y1f32 y1f32x y1f64 y1f64x y1l yaml ymath yn ynf
ynf128 ynf32 ynf32x ynf64 ynf64x ynl yvals yvals_core z3 z3_algebraic z3_api z3_ast_containers z3_fixedpoint z3_fpa z3_macros
z3_optimization z3_polynomial z3_rcf z3_spacer z3_v1 z3_version zconf zeta zlib zmouse
""".split()
)
