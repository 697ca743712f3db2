package trialbridge.tests;

import ca.uhn.fhir.batch2.jobs.config.Batch2JobsConfig;
import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.IDaoRegistry;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.config.ThreadPoolFactoryConfig;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.batch2.JpaBatch2Config;
import ca.uhn.fhir.jpa.binary.api.IBinaryStorageSvc;
import ca.uhn.fhir.jpa.binstore.DatabaseBinaryContentStorageSvcImpl;
import ca.uhn.fhir.jpa.config.HibernatePropertiesProvider;
import ca.uhn.fhir.jpa.config.r4.JpaR4Config;
import ca.uhn.fhir.jpa.config.util.HapiEntityManagerFactoryUtil;
import ca.uhn.fhir.jpa.config.util.ResourceCountCacheUtil;
import ca.uhn.fhir.jpa.dao.FulltextSearchSvcImpl;
import ca.uhn.fhir.jpa.dao.IFulltextSearchSvc;
import ca.uhn.fhir.jpa.dao.search.HSearchSortHelperImpl;
import ca.uhn.fhir.jpa.dao.search.IHSearchSortHelper;
import ca.uhn.fhir.jpa.model.config.PartitionSettings;
import ca.uhn.fhir.jpa.model.config.SubscriptionSettings;
import ca.uhn.fhir.jpa.model.dialect.HapiFhirH2Dialect;
import ca.uhn.fhir.jpa.provider.DaoRegistryResourceSupportedSvc;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.jpa.search.IStaleSearchDeletingSvc;
import ca.uhn.fhir.jpa.search.StaleSearchDeletingSvcImpl;
import ca.uhn.fhir.jpa.subscription.channel.config.SubscriptionChannelConfig;
import ca.uhn.fhir.jpa.subscription.match.config.SubscriptionProcessorConfig;
import ca.uhn.fhir.jpa.subscription.match.deliver.email.IEmailSender;
import ca.uhn.fhir.jpa.subscription.submit.config.SubscriptionSubmitterConfig;
import ca.uhn.fhir.jpa.util.ResourceCountCache;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.IResourceSupportedSvc;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import jakarta.persistence.EntityManagerFactory;
import java.util.Properties;
import javax.sql.DataSource;
import org.apache.commons.dbcp2.BasicDataSource;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.hibernate.dialect.Dialect;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.annotation.Import;
import org.springframework.context.annotation.Primary;
import org.springframework.orm.jpa.JpaTransactionManager;
import org.springframework.orm.jpa.LocalContainerEntityManagerFactoryBean;
import org.springframework.transaction.annotation.EnableTransactionManagement;

/**
 * HAPI FHIR JPA (R4) on H2 in memory, as a server to test a client against.
 *
 * <p>Only settings are made here; every answer is HAPI's own. The settings follow what the
 * HAPI starter project ships: 20 results a page, search results reused for 60 s, references
 * checked on write. Added: external references are allowed and rest-hook Subscriptions are on.
 *
 * <p>Listens on 127.0.0.1 only. Nothing outlives the process. Usage: {@code HapiServer PORT}.
 */
public final class HapiServer {

    private HapiServer() {}

    public static void main(String[] args) throws Exception {
        int port = args.length > 0 ? Integer.parseInt(args[0]) : 8090;
        String base = "http://127.0.0.1:" + port + "/fhir";

        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(Settings.class);
        RestfulServer fhir = restfulServer(context, base);

        Server jetty = new Server();
        ServerConnector connector = new ServerConnector(jetty);
        connector.setHost("127.0.0.1");
        connector.setPort(port);
        jetty.addConnector(connector);
        ServletContextHandler root = new ServletContextHandler("/");
        root.addServlet(new ServletHolder(fhir), "/fhir/*");
        jetty.setHandler(root);
        jetty.setStopAtShutdown(true);
        jetty.start();
        System.out.println("HAPI FHIR listens at " + base);
        jetty.join();
    }

    private static RestfulServer restfulServer(AnnotationConfigApplicationContext context, String base) {
        IFhirSystemDao<?, ?> system = context.getBean(IFhirSystemDao.class);
        RestfulServer server = new RestfulServer(context.getBean(FhirContext.class));
        server.registerProviders(context.getBean(ResourceProviderFactory.class).createProviders());
        server.registerProvider(context.getBean(IJpaSystemProvider.class));

        JpaCapabilityStatementProvider capabilities = new JpaCapabilityStatementProvider(
                server,
                system,
                context.getBean(JpaStorageSettings.class),
                context.getBean(ISearchParamRegistry.class),
                context.getBean(IValidationSupport.class));
        capabilities.setImplementationDescription("HAPI FHIR R4 test server");
        server.setServerConformanceProvider(capabilities);

        DatabaseBackedPagingProvider paging = context.getBean(DatabaseBackedPagingProvider.class);
        paging.setDefaultPageSize(20);
        paging.setMaximumPageSize(200);
        server.setPagingProvider(paging);
        server.setDefaultResponseEncoding(EncodingEnum.JSON);
        server.setServerAddressStrategy(new HardcodedServerAddressStrategy(base));
        return server;
    }

    /** The beans that HAPI leaves to whoever deploys it. */
    @Configuration
    @EnableTransactionManagement
    @Import({
        JpaR4Config.class,
        ThreadPoolFactoryConfig.class,
        JpaBatch2Config.class,
        Batch2JobsConfig.class,
        SubscriptionSubmitterConfig.class,
        SubscriptionProcessorConfig.class,
        SubscriptionChannelConfig.class
    })
    public static class Settings {

        @Bean
        public JpaStorageSettings storageSettings() {
            JpaStorageSettings settings = new JpaStorageSettings();
            settings.setAllowExternalReferences(true);
            settings.setAllowMultipleDelete(false);
            settings.setReuseCachedSearchResultsForMillis(60_000L);
            settings.setFetchSizeDefaultMaximum(10_000);
            return settings;
        }

        @Bean
        public SubscriptionSettings subscriptionSettings() {
            SubscriptionSettings settings = new SubscriptionSettings();
            settings.addSupportedSubscriptionType(
                    org.hl7.fhir.dstu2.model.Subscription.SubscriptionChannelType.RESTHOOK);
            return settings;
        }

        @Bean
        public PartitionSettings partitionSettings() {
            return new PartitionSettings();
        }

        @Bean
        public DataSource dataSource() {
            BasicDataSource source = new BasicDataSource();
            source.setDriverClassName("org.h2.Driver");
            source.setUrl("jdbc:h2:mem:hapi;DB_CLOSE_DELAY=-1");
            source.setUsername("sa");
            source.setPassword("");
            source.setMaxTotal(20);
            return source;
        }

        @Bean
        @Primary
        public LocalContainerEntityManagerFactoryBean entityManagerFactory(
                ConfigurableListableBeanFactory beans,
                FhirContext fhir,
                JpaStorageSettings settings,
                DataSource source) {
            LocalContainerEntityManagerFactoryBean factory =
                    HapiEntityManagerFactoryUtil.newEntityManagerFactory(beans, fhir, settings);
            factory.setPersistenceUnitName("HAPI_PU");
            factory.setDataSource(source);
            Properties jpa = new Properties();
            jpa.put("hibernate.dialect", HapiFhirH2Dialect.class.getName());
            jpa.put("hibernate.hbm2ddl.auto", "update");
            jpa.put("hibernate.jdbc.batch_size", "20");
            jpa.put("hibernate.cache.use_query_cache", "false");
            jpa.put("hibernate.cache.use_second_level_cache", "false");
            jpa.put("hibernate.search.enabled", "false");
            factory.setJpaProperties(jpa);
            return factory;
        }

        @Bean
        @Primary
        public HibernatePropertiesProvider hibernatePropertiesProvider() {
            return new HibernatePropertiesProvider() {
                private final Dialect dialect = new HapiFhirH2Dialect();

                @Override
                public Dialect getDialect() {
                    return dialect;
                }
            };
        }

        @Bean
        @Primary
        public JpaTransactionManager transactionManager(EntityManagerFactory factory) {
            return new JpaTransactionManager(factory);
        }

        @Bean
        public IFulltextSearchSvc fullTextSearchSvc() {
            return new FulltextSearchSvcImpl();
        }

        @Bean
        public IHSearchSortHelper hSearchSortHelper(ISearchParamRegistry registry) {
            return new HSearchSortHelperImpl(registry);
        }

        @Bean
        public IStaleSearchDeletingSvc staleSearchDeletingSvc() {
            return new StaleSearchDeletingSvcImpl();
        }

        @Bean
        public DatabaseBackedPagingProvider databaseBackedPagingProvider() {
            return new DatabaseBackedPagingProvider();
        }

        @Bean
        public IResourceSupportedSvc resourceSupportedSvc(IDaoRegistry registry) {
            return new DaoRegistryResourceSupportedSvc(registry);
        }

        @Bean(name = "myResourceCountsCache")
        public ResourceCountCache resourceCountsCache(IFhirSystemDao<?, ?> system) {
            return ResourceCountCacheUtil.newResourceCountCache(system);
        }

        @Bean
        public IBinaryStorageSvc binaryStorage() {
            return new DatabaseBinaryContentStorageSvcImpl();
        }

        @Bean
        public IEmailSender emailSender() {
            return details -> {};
        }
    }
}
